"""What a stack makes of vectors, computed with numpy, for rerank.py and guess.py.

- A projection: the principal components of `sample`, `[rows, dim]`, by singular values, each with its largest coordinate
  positive. It comes first in a stack, and says `dims`.
- `quantization(bits=B)`: by SPEC.md.
- Noise has to be the same to be compared, so it is the difference that embosk's own noise makes. It must have a key, and
  its standard deviation is checked. Fresh noise differs each time.
- A rotation is what embosk makes of the axes. That it is orthogonal is checked.
"""

import re
import subprocess
import sys
from pathlib import Path

import numpy


def setting(part: str, name: str) -> str | None:
    """A setting of a part of a stack, as it is written."""
    found = re.search(rf"\b{name}\s*=\s*([^,)]+)", part)
    return found and found[1].strip()


class Coarse:
    def __init__(self, embosk: str, folder: Path, sample: numpy.ndarray):
        self.embosk, self.folder = embosk, folder
        self.mean = sample.astype(float).mean(0)
        _, _, components = numpy.linalg.svd(sample - self.mean, full_matrices=False)
        largest = numpy.take_along_axis(components, numpy.abs(components).argmax(1)[:, None], 1)
        self.components = components * numpy.sign(largest)

    def of(self, defense: str, role: str, vectors: numpy.ndarray) -> numpy.ndarray:
        """The coarse vectors, `[rows, dims]`, of `document` or `query` vectors, `[rows, dim]`."""
        made, before = vectors.astype(float), []
        for part in map(str.strip, defense.split("|")):
            name = part.split("(")[0].strip()
            if name == "projection" and not before and "fit" in part and "dims" in part:
                made = (made - self.mean) @ self.components[: int(setting(part, "dims"))].T
            elif name == "quantization" and "scale" not in part:
                made = rounded(made, int(setting(part, "bits")))
            elif name == "gaussian" and "key" in part:
                made = made + self.noise(part, before, role, vectors)
            elif name == "rotation":
                axes = self.protected([part], role, numpy.eye(made.shape[1], dtype=numpy.float32))
                if numpy.abs(axes @ axes.T - numpy.eye(len(axes))).max() > 1e-5:
                    sys.exit(f"{part}: it is not orthogonal")
                made = made @ axes
            elif name not in ("none", "rerank"):
                sys.exit(f"{part}: this script does not compute it here")
            before.append(part)
        return made

    def noise(self, part: str, before: list, role: str, vectors: numpy.ndarray) -> numpy.ndarray:
        noise = self.protected([*before, part], role, vectors) - self.protected(before, role, vectors)
        is_noisy = setting(part, "on") in (None, "both", "documents" if role == "document" else "queries")
        sigma = float(setting(part, "sigma")) if is_noisy else 0
        # five standard errors of a standard deviation
        if abs(noise.std() - sigma) > 5 * sigma / numpy.sqrt(2 * noise.size) + 1e-6:
            sys.exit(f"{part}: noise on {role} vectors has a standard deviation of {noise.std():.5f}")
        return noise

    def protected(self, parts: list, role: str, vectors: numpy.ndarray) -> numpy.ndarray:
        """What `embosk protect` makes of vectors."""
        given, made = self.folder / "given.npy", self.folder / "made.npy"
        numpy.save(given, vectors)
        words = [self.embosk, "protect", "--quiet", "--defense", " | ".join(parts) or "none", "--role", role, given, made]
        subprocess.run(words, check=True)
        return numpy.load(made).astype(float)


def rounded(vectors: numpy.ndarray, bits: int) -> numpy.ndarray:
    """Each vector in 8 or 4 bits by its largest magnitude, or in 1 bit by its root mean square."""
    if bits == 1:
        return numpy.where(vectors < 0, -1, 1) * numpy.sqrt((vectors**2).mean(1, keepdims=True))
    top, scales = {8: 127, 4: 7}[bits], numpy.abs(vectors).max(1, keepdims=True)
    positions = vectors * top / numpy.where(scales > 0, scales, 1)
    # halves away from zero
    return numpy.sign(positions) * numpy.floor(numpy.abs(positions) + 0.5) * scales / top
