"""The published weights of generators of fakes: addresses, sums, licences. Data alone; the types are in `published.py`.

Sums and sizes are those that several public projects state; none of these files was seen where this was written. So a
file with another sum is not refused: it is taken with a warning that shows the sum.
"""

from faceverify.models.published import Archive, Commercial, Published, PublishedFile

_ASSETS = "https://github.com/facefusion/facefusion-assets/releases/download"
_GHOST = "https://github.com/sberbank-ai/sber-swap/releases/download"
_PACKS = "https://github.com/deepinsight/insightface/releases/download/v0.7"
_RESEARCH = "non-commercial research only"
_RAIL = "OpenRAIL-MS"


def generators() -> list[Published]:
    """All of them, in the order in which they are listed."""
    return [*_inswapper(), *_ghost(), *_facefusion(), *_converters()]


def _entry(
    name: str,
    file: str,
    url: str | None,
    licence: str,
    commercial: Commercial,
    source: str,
    size: int | None = None,
    sums: tuple[str, ...] = (),
    archive: Archive | None = None,
) -> Published:
    one = PublishedFile(name=file, url=url, size=size, sha256=next(iter(sums), None), others=sums[1:], archive=archive)
    return Published(name=name, kind="generator", files=(one,), licence=licence, commercial=commercial, source=source)


def _inswapper() -> list[Published]:
    """Two files each of the same names: InsightFace's, and those that facefusion made of them."""
    source = "InsightFace, {}.onnx, withdrawn there; copies: huggingface.co/ezioruan, facefusion-assets (models-3.0.0)"
    return [
        _entry(name, f"{name}.onnx", None, _RESEARCH, "no", source.format(name), size, sums)
        for name, size, sums in (
            (
                "inswapper_128",
                554_253_681,
                (
                    "e4a3f08c753cb72d04e10aa0f7dbe3deebbf39567d4ead6dce08e98aa49e16af",
                    "a290273ed497312095dac48cdef20feec9d5208298223dd01288ab202b54bea7",
                ),
            ),
            (
                "inswapper_128_fp16",
                277_680_638,
                (
                    "6d51a9278a1f650cffefc18ba53f38bf2769bf4bbff89267822cf72945f8a38b",
                    "c4eccca86ad177586c85c28bf1a64a9d9ed237e283a15818d831f7facfd3f420",
                ),
            ),
        )
    ]


def _ghost() -> list[Published]:
    source = "Ghost (sber-swap), release {}"
    networks = [
        _entry(
            f"ghost_unet_{blocks}",
            f"G_unet_{blocks}.pth",
            f"{_GHOST}/sber-swap-v2.0/G_unet_{blocks}.pth",
            "Apache-2.0",
            "yes",
            source.format("sber-swap-v2.0"),
        )
        for blocks in ("1block", "2blocks", "3blocks")
    ]
    backbone = f"{_GHOST}/arcface/backbone.pth"
    pack = Archive(
        member="2d106det.onnx",
        size=360_662_982,
        sha256="8e182f14fc6e80b3bfa375b33eb6cff7ee05d8ef7633e738d1c89021dcf0c5c5",
    )
    points = ("f001b856447c413801ef5c42091ed0cd516fcd21f2d6b79635b1e733a7109dbf",)
    packs = "InsightFace, 106 landmarks (buffalo_l and antelopev2)"
    return [
        *networks,
        _entry("ghost_backbone", "backbone.pth", backbone, "Apache-2.0", "yes", source.format("arcface")),
        _entry(
            "2d106det", "2d106det.onnx", f"{_PACKS}/antelopev2.zip", _RESEARCH, "no", packs, 5_030_888, points, pack
        ),
    ]


def _facefusion() -> list[Published]:
    """Networks as facefusion publishes them; release, size, licence and whether it allows commercial use, sum."""
    found = []
    for name, release, size, licence, commercial, sums in (
        ("ghost_1_256", "3.0.0", 514_902_950, "Apache-2.0", "yes", ()),
        ("ghost_2_256", "3.0.0", None, "Apache-2.0", "yes", ()),
        (
            "ghost_3_256",
            "3.0.0",
            None,
            "Apache-2.0",
            "yes",
            ("308d87f565e881b8872a5cbe711f97faeda6643e5d2b95ef757cc92a58662abd",),
        ),
        ("simswap_256", "3.0.0", 220_368_724, "CC BY-NC 4.0", "no", ()),
        (
            "simswap_unofficial_512",
            "3.0.0",
            239_249_034,
            "CC BY-NC 4.0",
            "no",
            ("fe805d1ce7d9e66322e2a8811f593a821e7d92f9ff861dd233794bdb2bb7a586",),
        ),
        ("blendswap_256", "3.0.0", 1_661_432_957, "CC BY-NC-SA 4.0", "no", ()),
        (
            "uniface_256",
            "3.0.0",
            406_964_143,
            "not stated",
            "unclear",
            ("eb5ce2af024cddf88ecb93b24e29a6eb44e354aba7d3319e84d29dcd868820f3",),
        ),
        (
            "hififace_unofficial_256",
            "3.1.0",
            203_784_742,
            "not stated",
            "unclear",
            ("9de9751617976195114d7f067b9b6cf933748363355cf473cab2da57a739c2ef",),
        ),
        (
            "hyperswap_1a_256",
            "3.3.0",
            402_742_682,
            "ResearchRAIL-MS",
            "no",
            ("c0e98a8a03a238f461ed3d2570e426b49f46745ee400854a60dceeb70c246add",),
        ),
        (
            "hyperswap_1b_256",
            "3.3.0",
            402_742_682,
            "ResearchRAIL-MS",
            "no",
            ("5124031789c42f71b9558fb71954ef7aedb6da7ed9fac79293e23c61a792a73e",),
        ),
        (
            "hyperswap_1c_256",
            "3.3.0",
            402_742_682,
            "ResearchRAIL-MS",
            "no",
            ("5528c2d76fe9986c99d829278987ef9f3a630cb606db7628d02b57b330f406a5",),
        ),
    ):
        file = f"{name}.onnx"
        source = f"facefusion-assets, release models-{release}"
        found.append(_entry(name, file, f"{_ASSETS}/models-{release}/{file}", licence, commercial, source, size, sums))
    return found


def _converters() -> list[Published]:
    """Small networks that turn an embedding of w600k_r50 into one of the recogniser that a swapper was made with."""
    return [
        _entry(
            name,
            f"{name}.onnx",
            f"{_ASSETS}/models-3.4.0/{name}.onnx",
            _RAIL,
            "unclear",
            "facefusion-assets, release models-3.4.0",
            22_083_800,
            (sha256,),
        )
        for name, sha256 in (
            ("crossface_ghost", "9ec5862d9ff1f723a7380ea89baf87cddec9c56670d4db766702657939284957"),
            ("crossface_simswap", "6452a261ec30cc30afdbe4a426d82c3b10a476f2df794e3494071c02574e6829"),
            ("crossface_hififace", "dfb75f960cb8ef1967a82838e64963b9ff621c4af3e22f9fda48ad958dddec9a"),
        )
    ]
