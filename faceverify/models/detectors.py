"""The published face detectors: addresses, sums, licences. Data alone; the types are in `published.py`.

Sums are those that the publisher states, that several independent projects state, or of files that were measured here.
"""

from faceverify.models.published import Published, PublishedFile

_ZOO = "https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet"
_UNIFACE = "https://github.com/yakhyo/uniface/releases/download/weights"
_FACENET = "https://github.com/timesler/facenet-pytorch/raw/de894bed2c7bbc028350c649a80b3009ce29aa90/data"
_ONE_MB = "https://github.com/biubug6/Face-Detector-1MB-with-landmark/raw/7f49cebe8c46c0d36debf2f4776dff35dd59a071"
_HUB = "https://huggingface.co/minchul"
_DFA = f"{_HUB}/cvlface_DFA_mobilenet/resolve/8317e6dda53d91e7074979923144c2cc08906a33"
_INSIGHTFACE = "non-commercial research only"
_MIT_ELSEWHERE = "MIT of the code, none for the file"

# What `align.weights ""` means, by method.
DEFAULTS = {
    "yunet": "yunet",
    "scrfd": "scrfd_2.5g",
    "retinaface": "retinaface_mobilenet0.25",
    "mtcnn": "mtcnn",
    "dfa": "dfa_mobilenet",
}

DETECTORS = (
    Published(
        name="yunet",
        kind="detector",
        method="yunet",
        files=(
            PublishedFile(
                name="face_detection_yunet_2023mar.onnx",
                url=f"{_ZOO}/face_detection_yunet_2023mar.onnx",
                size=232_589,
                sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
            ),
        ),
        licence="MIT",
        commercial="yes",
        source="OpenCV's model zoo, YuNet of March 2023",
    ),
    Published(
        name="yunet_2026may",
        kind="detector",
        method="yunet",
        files=(
            PublishedFile(
                name="face_detection_yunet_2026may.onnx",
                url=f"{_ZOO}/face_detection_yunet_2026may.onnx",
                size=229_738,
                sha256="ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0",
            ),
        ),
        licence="none for the file",
        commercial="unclear",
        source="OpenCV's model zoo: the network of March 2023 with a free input size",
    ),
    Published(
        name="scrfd_2.5g",
        kind="detector",
        method="scrfd",
        files=(
            PublishedFile(
                name="scrfd_2.5g_bnkps.onnx",
                url="https://github.com/visomaster/visomaster-assets/releases/download/v0.1.0/scrfd_2.5g_bnkps.onnx",
                size=3_290_207,
                sha256="bc24bb349491481c3ca793cf89306723162c280cb284c5a5e49df3760bf5c2ce",
            ),
        ),
        licence=_INSIGHTFACE,
        commercial="no",
        source="InsightFace, SCRFD 2.5G with landmarks; a copy",
    ),
    Published(
        name="scrfd_10g",
        kind="detector",
        method="scrfd",
        files=(
            PublishedFile(
                name="scrfd_10g_bnkps.onnx",
                url=f"{_UNIFACE}/scrfd_10g_kps.onnx",
                size=16_923_827,
                sha256="5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
            ),
        ),
        licence=_INSIGHTFACE,
        commercial="no",
        source="InsightFace, SCRFD 10G with landmarks (det_10g of buffalo_l); a copy",
    ),
    Published(
        name="retinaface_mobilenet0.25",
        kind="detector",
        method="retinaface",
        files=(
            PublishedFile(
                name="mobilenet0.25_Final.pth",
                url="https://github.com/elliottzheng/face-detection/releases/download/0.0.1/mobilenet0.25_Final.pth",
                size=1_789_735,
                sha256="2979b33ffafda5d74b6948cd7a5b9a7a62f62b949cef24e95fd15d2883a65220",
            ),
        ),
        licence=_MIT_ELSEWHERE,
        commercial="unclear",
        source="Pytorch_Retinaface; a copy",
    ),
    Published(
        name="retinaface_mobilenet0.25_1mb",
        kind="detector",
        method="retinaface",
        files=(
            PublishedFile(
                name="mobilenet0.25_Final.pth",
                url=f"{_ONE_MB}/weights/mobilenet0.25_Final.pth",
                size=1_789_735,
                sha256="ed6fa7d45a5179f03cb5ce82c73b0c6711372968e53782e88395acee88d319e1",
            ),
        ),
        licence="MIT",
        commercial="yes",
        source="Face-Detector-1MB-with-landmark, another network under the same file name",
    ),
    Published(
        name="retinaface_resnet50",
        kind="detector",
        method="retinaface",
        files=(
            PublishedFile(
                name="detection_Resnet50_Final.pth",
                url="https://github.com/xinntao/facexlib/releases/download/v0.1.0/detection_Resnet50_Final.pth",
                size=109_497_761,
                sha256="6d1de9c2944f2ccddca5f5e010ea5ae64a39845a86311af6fdf30841b0a5a16d",
            ),
        ),
        licence=_MIT_ELSEWHERE,
        commercial="unclear",
        source="Pytorch_Retinaface, ResNet-50; the copy of facexlib",
    ),
    Published(
        name="mtcnn",
        kind="detector",
        method="mtcnn",
        files=(
            PublishedFile(
                name="pnet.pt",
                url=f"{_FACENET}/pnet.pt",
                size=28_570,
                sha256="a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
            ),
            PublishedFile(
                name="rnet.pt",
                url=f"{_FACENET}/rnet.pt",
                size=403_147,
                sha256="bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
            ),
            PublishedFile(
                name="onet.pt",
                url=f"{_FACENET}/onet.pt",
                size=1_559_269,
                sha256="165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
            ),
        ),
        licence="MIT",
        commercial="yes",
        source="facenet-pytorch",
    ),
    Published(
        name="dfa_mobilenet",
        kind="detector",
        method="dfa",
        files=(PublishedFile(name="model.safetensors", url=f"{_DFA}/model.safetensors"),),
        licence="MIT; terms of the training data",
        commercial="unclear",
        source="CVLface, DFA on MobileNet 0.25",
    ),
    Published(
        name="dfa_resnet50",
        kind="detector",
        method="dfa",
        files=(
            PublishedFile(name="model.safetensors", url=f"{_HUB}/cvlface_DFA_resnet50/resolve/main/model.safetensors"),
        ),
        licence="MIT; terms of the training data",
        commercial="unclear",
        source="CVLface, DFA on ResNet-50",
    ),
)
