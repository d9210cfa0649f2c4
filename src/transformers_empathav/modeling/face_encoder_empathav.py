"""The face tower: mini-Xception, or a residual network, which reads an expression from a small grey face."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .configuration_empathav import FaceEncoderConfig
from .residual_face_empathav import residual_module, residual_stem, shrink, standardize


# RGB to grey: luma of ITU-R BT.601. The weights sum to one, so grey keeps the range of its inputs.
LUMA = (0.299, 0.587, 0.114)


@dataclass
class FaceEncoderOutput(BaseModelOutputWithPooling):
    """
    Output of [`FaceEncoder`].

    Args:
        last_hidden_state (`torch.FloatTensor` of shape `(batch, patches, hidden_size)`):
            The last feature map, flattened row by row: 16 patches for a face of 64 pixels.
        pooler_output (`torch.FloatTensor` of shape `(batch, hidden_size)`):
            Mean of the patches.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*):
            Feature maps of the stem and of each residual module, as `(batch, patches, channels)`. Patches and channels
            differ from layer to layer, so they cannot be stacked or averaged.
        logits (`torch.FloatTensor` of shape `(batch, num_labels)`):
            Expression scores before softmax, in the order of `config.id2label`.
    """

    logits: torch.FloatTensor | None = None


def pad_same(features: torch.Tensor, kernel: int, stride: int, value: float) -> torch.Tensor:
    """Pads as TensorFlow's "same" does: ceil(size / stride) windows fit, odd padding goes right and below."""
    padding = []
    for size in (features.shape[-1], features.shape[-2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        padding += [total // 2, total - total // 2]
    return F.pad(features, padding, value=value)


class SeparableConvolution(nn.Module):
    """Depthwise separable 3x3 convolution (depthwise, then 1x1), with batch normalisation."""

    def __init__(self, in_channels: int, out_channels: int, eps: float):
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, eps=eps)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.norm(self.pointwise(self.depthwise(features)))


class ResidualModule(nn.Module):
    """Two separable convolutions and a max pooling of stride 2, added to a strided 1x1 shortcut."""

    def __init__(self, in_channels: int, out_channels: int, eps: float):
        super().__init__()
        self.first = SeparableConvolution(in_channels, out_channels, eps)
        self.second = SeparableConvolution(out_channels, out_channels, eps)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=2, bias=False)
        self.shortcut_norm = nn.BatchNorm2d(out_channels, eps=eps)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        residual = self.second(F.relu(self.first(features)))
        residual = F.max_pool2d(pad_same(residual, kernel=3, stride=2, value=float("-inf")), 3, stride=2)
        return residual + self.shortcut_norm(self.shortcut(features))


class FaceEncoder(PreTrainedModel):
    r"""
    A face becomes a few feature vectors and seven scores: by mini-Xception of [Real-time Convolutional Neural Networks
    for Emotion and Gender Classification](https://huggingface.co/papers/1710.07557), or by a residual network.

    Takes images as any vision transformer does: RGB, scaled to [-1, 1]. They are converted to grey and resized to
    `config.image_size` inside.

    Args:
        config ([`FaceEncoderConfig`]):
            Sizes of the network and names of its labels.
    """

    config_class = FaceEncoderConfig
    base_model_prefix = "face_encoder"
    main_input_name = "pixel_values"
    # It has no attention, so any implementation is accepted.
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True
    input_modalities = ("image",)
    _no_split_modules = ["ResidualModule", "ResidualBlock"]

    def __init__(self, config: FaceEncoderConfig):
        super().__init__(config)
        stem, eps = config.stem_channels, config.batch_norm_eps
        widths = [stem, *config.module_channels]
        pairs = list(zip(widths, widths[1:]))
        if config.architecture == "residual":
            depths = config.module_depths or [1] * len(pairs)
            self.stem = residual_stem(stem, eps)
            self.blocks = nn.ModuleList(residual_module(*pair, depth, eps) for pair, depth in zip(pairs, depths))
            self.classifier = nn.Conv2d(widths[-1], config.num_labels, 1)
        else:
            self.stem = nn.Sequential(
                nn.Conv2d(1, stem, 3, bias=False),
                nn.BatchNorm2d(stem, eps=eps),
                nn.ReLU(),
                nn.Conv2d(stem, stem, 3, bias=False),
                nn.BatchNorm2d(stem, eps=eps),
                nn.ReLU(),
            )
            self.blocks = nn.ModuleList(ResidualModule(*pair, eps) for pair in pairs)
            self.classifier = nn.Conv2d(widths[-1], config.num_labels, 3, padding=1)
        self.dropout = nn.Dropout2d(config.classifier_dropout)
        self.post_init()

    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight)

    def forward(
        self,
        pixel_values: torch.FloatTensor,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ) -> FaceEncoderOutput | tuple:
        r"""
        Args:
            pixel_values (`torch.FloatTensor` of shape `(batch, 3, height, width)`):
                Faces in RGB, scaled to [-1, 1]; other sizes than `config.image_size` are resized bilinearly.
            output_hidden_states (`bool`, *optional*):
                Whether to return the feature map of every layer too. Their shapes differ.
            return_dict (`bool`, *optional*):
                Whether to return a [`FaceEncoderOutput`] or a plain tuple.

        Returns:
            [`FaceEncoderOutput`]: `last_hidden_state`, `pooler_output`, `hidden_states` if asked for, and `logits`.

        Raises:
            `ValueError`: If `pixel_values` is not a batch of three-channel images.
        """
        if pixel_values.ndim != 4 or pixel_values.shape[1] != 3:
            raise ValueError(
                f"pixel_values has the shape {tuple(pixel_values.shape)}, but faces are read in colour: pass "
                "(batch, 3, height, width), with frames of a clip folded into the batch."
            )
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if return_dict is None:
            return_dict = self.config.return_dict

        pixel_values = pixel_values.to(self.dtype)
        features = (pixel_values * pixel_values.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
        size = (self.config.image_size, self.config.image_size)
        if features.shape[-2:] != size:
            if self.config.architecture == "residual":
                features = shrink(features, size)
            else:  # as the extractors on mini-Xception were trained, without a low-pass
                features = F.interpolate(features, size=size, mode="bilinear", align_corners=False)
        if self.config.standardize:
            features = standardize(features)

        maps = [self.stem(features)]
        for block in self.blocks:
            maps.append(block(maps[-1]))

        output = FaceEncoderOutput(
            last_hidden_state=maps[-1].flatten(2).transpose(1, 2),
            pooler_output=maps[-1].mean((2, 3)),
            hidden_states=tuple(m.flatten(2).transpose(1, 2) for m in maps) if output_hidden_states else None,
            logits=self.classifier(self.dropout(maps[-1])).mean((2, 3)),
        )
        return output if return_dict else output.to_tuple()
