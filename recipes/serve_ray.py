# /// script
# dependencies = ["transformers-empathav[ray]"]
# ///
"""
Serves a checkpoint on Ray Serve: what `empathav serve` answers, from several processes or machines behind one address.

    python recipes/serve_ray.py build/smollm2-135m-tuned --replicas 2 --store /mnt/shared/empathav
    python recipes/serve_ray.py build/smollm2-135m-tuned --max_replicas 8 --gpus 1 --store s3://bucket/empathav
    python recipes/serve_ray.py build/smollm2-135m-tuned --address auto    # on a cluster that runs already

Any replica may get any request. With a `--store` that all of them reach, one goes on with what another began and reads
the new words alone; without, each reads what it does not know. The header `x-replica` of an answer says who gave it.
EMPATHAV_API_KEY sets the key that clients bring. Ctrl-C ends it.
"""

import argparse
import os
import sys
from pathlib import Path

from transformers_empathav.chat.server import Settings, load_app


os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray tells its makers about the cluster


def signed(app, replica: str):
    """The ASGI application, with the header `x-replica` in its answers."""

    async def answer(scope, receive, send):
        async def sign(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-replica", replica.encode())]
            await send(message)

        await app(scope, receive, sign)

    return answer


def deployment(options: argparse.Namespace):
    """The application of Ray Serve. Each replica loads the checkpoint for itself."""
    from ray import serve

    settings = Settings(
        name=options.name or Path(options.checkpoint).resolve().name,
        key=os.environ.get("EMPATHAV_API_KEY") or None,
        allow_urls=options.allow_urls,
        concurrency=options.max_ongoing_requests,
        timeout=options.timeout,
    )
    checkpoint, store, days = options.checkpoint, options.store, options.store_days

    def build():
        return signed(load_app(checkpoint, settings, store, days), serve.get_replica_context().replica_tag)

    scale = {"num_replicas": options.replicas}
    if options.max_replicas is not None:
        scale = {
            "autoscaling_config": {
                "min_replicas": options.replicas,
                "max_replicas": options.max_replicas,
                "target_ongoing_requests": options.target_ongoing_requests,
            }
        }
    return serve.deployment(
        serve.ingress(build)(),
        name="empathav",
        max_ongoing_requests=options.max_ongoing_requests,
        max_queued_requests=options.queue,
        ray_actor_options={"num_cpus": options.cpus, "num_gpus": options.gpus},
        **scale,
    ).bind()


def main(options: argparse.Namespace):
    """Deploys and waits until it is interrupted."""
    import ray
    from ray import serve

    ray.init(address=options.address, include_dashboard=None if options.address else False)
    serve.start(http_options={"host": options.host, "port": options.port})
    serve.run(deployment(options), blocking=True)


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("checkpoint", help="Directory of a checkpoint that every machine has, or a Hub id.")
    options.add_argument("--name", help="What clients call the model; the checkpoint's name.")
    options.add_argument("--replicas", type=int, default=1, help="Processes, or the fewest with --max_replicas.")
    options.add_argument("--max_replicas", type=int, help="Scale up to so many, by the requests that come.")
    options.add_argument("--target_ongoing_requests", type=float, default=8.0, help="Of a replica, when scaling.")
    options.add_argument("--max_ongoing_requests", type=int, default=32, help="A replica works on at once.")
    options.add_argument("--queue", type=int, default=64, help="Requests that wait; one more gets status 503.")
    options.add_argument("--store", help="Where all replicas keep conversations: a shared directory, s3://..., ...")
    options.add_argument("--store_days", type=float, default=30.0, help="They are deleted after.")
    options.add_argument("--cpus", type=float, default=1.0, help="Of a replica.")
    options.add_argument("--gpus", type=float, default=0.0, help="Of a replica; parts of one may be given.")
    options.add_argument("--allow_urls", action="store_true", help="Fetch clips from public addresses.")
    options.add_argument("--timeout", type=float, default=120.0, help="Seconds that a request may take.")
    options.add_argument("--host", default="127.0.0.1", help="Address to listen at; 0.0.0.0 for all of a machine.")
    options.add_argument("--port", type=int, default=8000)
    options.add_argument("--address", help="Of a Ray cluster, such as auto; one on this machine alone by default.")
    return options


if __name__ == "__main__":
    try:
        main(parser().parse_args())
    except ImportError as error:
        sys.exit(f"error: Ray Serve needs {error.name}: pip install 'transformers-empathav[ray]'")
