"""What makes one picture of a face into many: another place, another light, another camera, something in front."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass
class FaceAugmentation:
    r"""
    Random changes of grey faces `(batch, 1, height, width)` in [0, 1], drawn for each face by torch's generator.

    Args:
        rotation (`float`): Degrees, at most, to either side.
        scale (`float`): Factor, at most, by which a face grows or shrinks.
        shift (`float`): Part of the picture, at most, by which a face moves.
        flip (`float`): Share of faces that are mirrored.
        light (`float`): Difference of brightness, at most, between two sides of the picture.
        gamma (`float`): Logarithm, at most, of the exponent of brightness.
        contrast (`float`): Part, at most, by which contrast grows or shrinks; what is too bright or dark is clipped.
        blur (`float`): Share of faces that are blurred or sharpened.
        noise (`float`): Spread, at most, of the noise of a camera.
        erase (`float`): Share of faces of which a rectangle is covered.
    """

    rotation: float = 15.0
    scale: float = 1.2
    shift: float = 0.08
    flip: float = 0.5
    light: float = 0.3
    gamma: float = 0.4
    contrast: float = 0.3
    blur: float = 0.3
    noise: float = 0.03
    erase: float = 0.3

    def __call__(self, faces: torch.Tensor) -> torch.Tensor:
        faces = self.look(self.place(faces))
        return self.cover(faces) if self.erase else faces

    def place(self, faces: torch.Tensor) -> torch.Tensor:
        """Turned, scaled, moved and mirrored; the border is continued outwards."""
        angle = uniform(faces, math.radians(self.rotation))
        zoom = torch.exp(uniform(faces, math.log(self.scale)))
        mirror = 1 - 2 * (torch.rand(len(faces), device=faces.device) < self.flip).to(faces)
        cos, sin = zoom * torch.cos(angle), zoom * torch.sin(angle)
        across, down = 2 * uniform(faces, self.shift), 2 * uniform(faces, self.shift)
        rows = [cos * mirror, -sin, across, sin * mirror, cos, down]
        grid = F.affine_grid(torch.stack(rows, dim=1).view(-1, 2, 3), list(faces.shape), align_corners=False)
        return F.grid_sample(faces, grid, padding_mode="border", align_corners=False)

    def look(self, faces: torch.Tensor) -> torch.Tensor:
        """Light from a side, brightness, contrast, sharpness and noise."""

        def each(most):
            return uniform(faces, most).view(-1, 1, 1, 1)

        height, width = faces.shape[-2:]
        down = torch.linspace(-0.5, 0.5, height, device=faces.device).view(1, 1, -1, 1)
        across = torch.linspace(-0.5, 0.5, width, device=faces.device).view(1, 1, 1, -1)
        faces = faces + each(self.light) * down + each(self.light) * across
        faces = (faces.clamp(0, 1) + 1e-4) ** torch.exp(each(self.gamma))
        mean = faces.mean((1, 2, 3), keepdim=True)
        faces = mean + (faces - mean) * (1 + each(self.contrast))
        blurred = F.avg_pool2d(faces, 3, stride=1, padding=1, count_include_pad=False)
        chosen = (torch.rand(len(faces), 1, 1, 1, device=faces.device) < self.blur).to(faces)
        faces = faces + chosen * (0.25 + each(0.75)) * (blurred - faces)
        faces = faces + each(self.noise) * torch.randn_like(faces)
        return faces.clamp(0, 1)

    def cover(self, faces: torch.Tensor) -> torch.Tensor:
        """A grey rectangle, an eighth to three eighths of the picture wide and high, over some of the faces."""
        height, width = faces.shape[-2:]
        inside = []
        for size, length in ((height, faces.shape[-2]), (width, faces.shape[-1])):
            half = size * (0.125 + 0.0625 * uniform(faces, 1.0)[:, None])
            middle = size * torch.rand(len(faces), 1, device=faces.device)
            inside.append((torch.arange(length, device=faces.device) + 0.5 - middle).abs() < half)
        chosen = torch.rand(len(faces), 1, 1, device=faces.device) < self.erase
        covered = (inside[0][:, :, None] & inside[1][:, None, :] & chosen)[:, None]
        shade = torch.rand(len(faces), 1, 1, 1, device=faces.device)
        return torch.where(covered, shade, faces)


def uniform(faces: torch.Tensor, most: float) -> torch.Tensor:
    """One number a face between `-most` and `most`."""
    return (2 * torch.rand(len(faces), device=faces.device) - 1) * most
