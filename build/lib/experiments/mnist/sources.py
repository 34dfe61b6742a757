"""The data sets: what their files are called, their sums, and what their pixels are normalised with."""

from dataclasses import dataclass
from pathlib import Path

MEAN, STD = 0.1307, 0.3081  # of the training pixels in [0, 1]; the thesis' released code

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@dataclass(frozen=True)
class Source:
    """What identifies a data set on disk.

    Attributes:
        sha256: SHA-256 of each IDX file by its name: of the raw (uncompressed) bytes, or where a name ends in `.gz`, of
            the gzipped file as its makers publish it.
        held_out: Number of leading training images that are not part of D (the thesis: 6,000 of 60,000).
        train_images, test_images: How many images the files hold, those held out included.
        mean, std: Of the training pixels in [0, 1], to normalise with.
        folder: Where its files lie, torchvision's name for it.
        title: Its name for people.
        fetched: Whether it can be fetched; otherwise it is part of the repository.
    """

    sha256: dict[str, str]
    held_out: int
    mean: float = MEAN
    std: float = STD
    folder: str = "MNIST"
    title: str = "MNIST"
    fetched: bool = True
    train_images: int = 60_000
    test_images: int = 10_000

    def raw(self, root: Path) -> Path:
        """Return the folder of its files, in torchvision's layout."""
        return root / self.folder / "raw"


SOURCES = {
    "mnist": Source(
        {
            TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        held_out=6000,
    ),
    "tiny": Source(  # the first 1,000 training and 400 test images; scripts/make_tiny.py wrote it
        {
            TRAIN_IMAGES: "386bb018796babeaca208787b77c1b9db39532c4098951ea35f4694e744eb4b7",
            TRAIN_LABELS: "895f65588e45d05babf0b5fa7aee2a0d782d8143b40b5764e596df91bc9dddeb",
            TEST_IMAGES: "c4deee0bda8da7241453411865cd2a3899fd2f62ba130d51291bcd6f8eb24bc6",
            TEST_LABELS: "a448fb86e5bcd5bfc69080011308ab2e2ef2409e2ac711bf36014242efe72849",
        },
        held_out=100,
        fetched=False,
        train_images=1000,
        test_images=400,
    ),
    # Sums of the next two: TensorFlow Datasets' url_checksums and torchvision's prototype data sets, which agree. Means
    # and deviations as usually given.
    "fashion_mnist": Source(  # Xiao, Rasul, Vollgraf 2017
        {
            f"{TRAIN_IMAGES}.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            f"{TRAIN_LABELS}.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            f"{TEST_IMAGES}.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            f"{TEST_LABELS}.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
        held_out=6000,
        mean=0.2860,
        std=0.3530,
        folder="FashionMNIST",
        title="Fashion-MNIST",
    ),
    "kmnist": Source(  # Clanuwat et al. 2018
        {
            f"{TRAIN_IMAGES}.gz": "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            f"{TRAIN_LABELS}.gz": "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            f"{TEST_IMAGES}.gz": "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            f"{TEST_LABELS}.gz": "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        },
        held_out=6000,
        mean=0.1918,
        std=0.3483,
        folder="KMNIST",
        title="KMNIST",
    ),
}
