"""What stays in float32 where a model is cast to half precision."""

import re

import torch


class KeepsFloat32:
    """
    Beside [`~transformers.PreTrainedModel`]: a cast to half precision leaves in float32 what loading in that dtype
    leaves in float32.

    That is what the model or a part of it names in `_keep_in_fp32_modules_strict`, for float16 also what it names in
    `_keep_in_fp32_modules`, and what no checkpoint holds, such as the frequencies of rotary positions.
    """

    def _apply(self, fn, recurse=True):
        # torch brings every cast and every move through here: `to`, `half`, `bfloat16`, `cuda`.
        exact = {dtype: self._exact_tensors(dtype) for dtype in (torch.float16, torch.bfloat16)}

        def carefully(tensor):
            changed = fn(tensor)
            if changed.dtype != tensor.dtype and id(tensor) in exact.get(changed.dtype, ()):
                return tensor.to(changed.device, torch.float32)
            return changed

        return super()._apply(carefully, recurse)

    def _exact_tensors(self, dtype: torch.dtype) -> dict[int, torch.Tensor]:
        """Parameters, gradients and buffers that stay in float32 under `dtype`, by their `id`."""
        plan = self._get_dtype_plan(dtype)
        named = (*self.named_parameters(), *self.named_buffers())
        tensors = [tensor for name, tensor in named if any(re.search(pattern, name) for pattern in plan)]
        for module in self.modules():
            tensors += [module.get_buffer(name) for name in module._non_persistent_buffers_set]
        tensors += [tensor.grad for tensor in tensors if tensor.grad is not None]
        return {id(tensor): tensor for tensor in tensors}
