"""A logistic regression with shares of labels as targets, weights of rows, and labels that do not compete."""

import torch


def regression(
    inputs: torch.Tensor,
    targets: torch.Tensor,
    strength: float,
    weights: torch.Tensor | None = None,
    competing: torch.Tensor | None = None,
    steps: int = 200,
    behind: float = torch.inf,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""
    Fits a multinomial logistic regression by L-BFGS. With one label a row, and all labels competing, it is
    `LogisticRegression` of scikit-learn.

    Args:
        inputs (`torch.Tensor` of shape `(rows, features)`): Of about unit size.
        targets (`torch.Tensor` of shape `(rows, labels)`): The share of each label; a row sums to 1.
        strength (`float`): Inverse of the penalty on weights, scikit-learn's `C`.
        weights (`torch.Tensor` of shape `(rows,)`, *optional*): How much each row counts; 1 by default.
        competing (`torch.Tensor` of shape `(rows, labels)`, *optional*):
            True where a label might have been the answer; all by default.
        steps (`int`, *optional*, defaults to 200): Iterations at most.
        behind (`float`, *optional*, defaults to infinity): See [`cross_entropy`].

    Returns:
        `tuple`: weights `(features, labels)` and biases `(labels,)`.
    """
    rows, labels = targets.shape
    weights = inputs.new_ones(rows) if weights is None else weights.to(inputs)
    found = inputs.new_zeros(inputs.shape[1], labels).requires_grad_()
    bias = inputs.new_zeros(labels).requires_grad_()
    optimizer = torch.optim.LBFGS([found, bias], max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        missed = cross_entropy(inputs @ found + bias, targets, competing, behind=behind)
        total = (weights @ missed + found.square().sum() / (2 * strength)) / rows
        total.backward()
        return total

    with torch.enable_grad():
        optimizer.step(loss)
    return found.detach(), bias.detach()


def cross_entropy(
    scores: torch.Tensor,
    targets: torch.Tensor,
    competing: torch.Tensor | None = None,
    smoothing: float = 0.0,
    label_weights: torch.Tensor | None = None,
    behind: float = torch.inf,
) -> torch.Tensor:
    r"""
    Cross-entropy of each row, `(rows,)`.

    Args:
        scores (`torch.Tensor` of shape `(rows, labels)`): Any scores; their softmax are probabilities.
        targets (`torch.Tensor` of shape `(rows, labels)`): The share of each label; a row sums to 1.
        competing (`torch.Tensor` of shape `(rows, labels)`, *optional*): True where a label counts; all by default.
        smoothing (`float`, *optional*, defaults to 0.0): Share of the target that is spread over these labels.
        label_weights (`torch.Tensor` of shape `(labels,)`, *optional*): How much each label counts; 1 by default.
        behind (`float`, *optional*, defaults to infinity):
            By how much the scores of labels that do not compete are lowered first. Infinity leaves them out of a row's
            softmax, so that the row says nothing of them; with 0 they compete, too.
    """
    competing = torch.ones_like(scores, dtype=torch.bool) if competing is None else competing
    log_probs = torch.where(competing, scores, scores - behind).log_softmax(dim=-1).masked_fill(~competing, 0.0)
    spread = competing / competing.sum(dim=-1, keepdim=True)
    missed = -((1 - smoothing) * targets + smoothing * spread) * log_probs
    return (missed if label_weights is None else missed * label_weights).sum(dim=-1)
