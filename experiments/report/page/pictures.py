"""Pictures small enough to stand in a page, as data URIs."""

import base64
import io
from dataclasses import dataclass

from PIL import Image

COLOURS = 64  # drawings have fewer but for the shades at the edges of lines and letters
# A colour of the palette is a mean; the paper would be a shade darker than the page around it.
WHITE, NEARLY = (255, 255, 255), 253
# Of WebP without loss. Over the thesis' figures: 13 % below a png with the same palette, in 1.5 times its time;
# more effort brings another 10 % and takes four times as long.
METHOD, EFFORT = 2, 20


@dataclass(frozen=True)
class Picture:
    """A picture ready for a page.

    Attributes:
        uri: `data:image/...;base64,...`.
        width, height: Pixels.
    """

    uri: str
    width: int
    height: int


def inline(png: bytes) -> Picture:
    """Return a png file as a data URI: as WebP with at most 64 colours where that is smaller.

    What is transparent becomes white, as the paper of every figure.
    """
    with Image.open(io.BytesIO(png)) as image:
        few = _on_paper(image) if image.mode == "P" else _with_few_colours(_on_paper(image))
        buffer = io.BytesIO()
        few.save(buffer, format="WEBP", lossless=True, method=METHOD, quality=EFFORT)
        content, kind = min((png, "png"), (buffer.getvalue(), "webp"), key=lambda found: len(found[0]))
        uri = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
        return Picture(uri, *image.size)


def _on_paper(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    paper = Image.new("RGB", image.size, "white")
    paper.paste(image, mask=image.getchannel("A"))
    return paper


def _with_few_colours(image: Image.Image) -> Image.Image:
    # The octree is four times as fast as the median cut and errs less on the colours of thin lines.
    palette = image.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    triples = zip(*[iter(palette.getpalette() or [])] * 3, strict=True)
    palette.putpalette(
        [value for triple in triples for value in (WHITE if min(triple) >= NEARLY else triple)]
    )
    return palette.convert("RGB")
