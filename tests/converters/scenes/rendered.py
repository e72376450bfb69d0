"""A small analytic scene, ray traced from some cameras, and its files as each program writes them."""

import dataclasses
import io
import json
import struct

import numpy as np
from PIL import Image

from functa_store.domains.scene import orbit

HEIGHT, WIDTH = 12, 16
FOCAL = 20.0
DISTANCE = 4.0

SPHERES = (((0.3, 0.2, 0.1), 0.5, (200, 40, 30)), ((-0.4, 0.1, -0.3), 0.35, (30, 90, 210)))
BOX = ((-0.2, -0.8, -0.6), (0.5, -0.3, 0.2), (40, 180, 60))


@dataclasses.dataclass(frozen=True)
class Scene:
    """Poses (camera to world, x right, y down, z forward), and what is seen: RGBA images."""

    poses: np.ndarray
    images: list[np.ndarray]
    points: np.ndarray


def scene(count=6, turn=0.0):
    """Cameras at several heights around the objects; others with another turn."""
    heights = np.linspace(-20, 50, count)
    poses = np.stack([orbit(count, DISTANCE, height)[k] for k, height in enumerate(heights)])
    angle = np.radians(turn)
    around = np.eye(4)
    around[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    poses = around @ poses
    return Scene(poses, [traced(pose) for pose in poses], surface())


def rays(pose, height=HEIGHT, width=WIDTH, focal=FOCAL):
    """Origin and unit directions, by the pinhole formula alone."""
    directions = np.empty((height, width, 3))
    for row in range(height):
        for column in range(width):
            camera = np.array([(column + 0.5 - width / 2) / focal, (row + 0.5 - height / 2) / focal, 1.0])
            directions[row, column] = pose[:3, :3] @ camera / np.linalg.norm(camera)
    return pose[:3, 3], directions


def traced(pose):
    """Colours and opacity (0 where nothing is hit) of an image."""
    origin, directions = rays(pose)
    nearest = np.full(directions.shape[:2], np.inf)
    image = np.zeros((*nearest.shape, 4), np.uint8)
    for centre, radius, colour in SPHERES:
        along = directions @ (np.array(centre) - origin)
        inside = along**2 - np.sum((np.array(centre) - origin) ** 2) + radius**2
        _paint(image, nearest, np.where(inside > 0, along - np.sqrt(np.maximum(inside, 0)), np.inf), colour)
    low, high, colour = (np.array(part) for part in BOX)
    with np.errstate(divide="ignore"):
        ends = np.sort(np.stack([(low - origin) / directions, (high - origin) / directions]), axis=0)
    enter, leave = ends[0].max(-1), ends[1].min(-1)
    _paint(image, nearest, np.where((enter < leave) & (enter > 0), enter, np.inf), colour)
    return image


def _paint(image, nearest, distance, colour):
    hit = distance < nearest
    image[hit] = (*colour, 255)
    nearest[hit] = distance[hit]


def surface(count=300):
    """Points on the spheres."""
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(count, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return np.concatenate([np.array(centre) + radius * unit for centre, radius, _ in SPHERES])


def encoded(image, form="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(image if form == "PNG" else on_white(image)).save(buffer, form, quality=95)
    return buffer.getvalue()


def on_white(image):
    return np.where(image[..., 3:] > 0, image[..., :3], 255).astype(np.uint8)


def opengl(pose):
    """x right, y up, z back."""
    return pose @ np.diag([1.0, -1.0, -1.0, 1.0])


def as_srn(found, folder="scene"):
    files = {f"{folder}/intrinsics.txt": f"{FOCAL} {WIDTH / 2} {HEIGHT / 2} 0.\n0 0 0\n1.\n{HEIGHT} {WIDTH}\n".encode()}
    for k, (pose, image) in enumerate(zip(found.poses, found.images, strict=True)):
        files[f"{folder}/rgb/{k:06d}.png"] = encoded(image)
        files[f"{folder}/pose/{k:06d}.txt"] = " ".join(repr(float(x)) for x in pose.ravel()).encode()
    return files


def document(poses, names, **more):
    frames = [
        {"file_path": name, "rotation": 0.01, "transform_matrix": opengl(pose).tolist()}
        for pose, name in zip(poses, names, strict=True)
    ]
    return {**more, "frames": frames}


ANGLE = 2 * float(np.arctan(WIDTH / 2 / FOCAL))


def as_blender(splits, folder="lego"):
    """transforms_{train,val,test}.json with camera_angle_x, and depth and normals beside views for tests."""
    files = {}
    for split, found in splits.items():
        names = [f"./{split}/r_{k}" for k in range(len(found.poses))]
        said = document(found.poses, names, camera_angle_x=ANGLE)
        files[f"{folder}/transforms_{split}.json"] = json.dumps(said).encode()
        for k, image in enumerate(found.images):
            files[f"{folder}/{split}/r_{k}.png"] = encoded(image)
            if split == "test":
                files[f"{folder}/{split}/r_{k}_depth_0001.png"] = encoded(image)
                files[f"{folder}/{split}/r_{k}_normal_0001.png"] = encoded(image)
    return files


def as_ngp(found, folder="fox", form="PNG", **more):
    """One transforms.json with fl_x, fl_y, cx, cy, w, h, and distortions of 0."""
    suffix = "png" if form == "PNG" else "jpg"
    names = [f"images/{k:04d}.{suffix}" for k in range(len(found.poses))]
    lens = {"fl_x": FOCAL, "fl_y": FOCAL, "cx": WIDTH / 2, "cy": HEIGHT / 2, "w": WIDTH, "h": HEIGHT}
    said = document(found.poses, names, **lens, k1=0.0, k2=0, p1=0, p2=0, camera_angle_x=ANGLE, **more)
    files = {f"{folder}/transforms.json": json.dumps(said).encode()}
    for name, image in zip(names, found.images, strict=True):
        files[f"{folder}/{name}"] = encoded(image, form)
    return files


def quaternion(rotation):
    """w, x, y, z of a rotation, by its eigenvector: another way than the reader's formula."""
    values, vectors = np.linalg.eig(rotation)
    axis = np.real(vectors[:, np.argmin(np.abs(values - 1))])
    skew = rotation - rotation.T
    doubled = np.array([skew[2, 1], skew[0, 2], skew[1, 0]])
    angle = np.arctan2(doubled @ axis / 2, (np.trace(rotation) - 1) / 2)
    return np.array([np.cos(angle / 2), *(np.sin(angle / 2) * axis)])


MODELS = {
    "SIMPLE_PINHOLE": (0, [FOCAL, WIDTH / 2, HEIGHT / 2]),
    "PINHOLE": (1, [FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2]),
    "SIMPLE_RADIAL": (2, [FOCAL, WIDTH / 2, HEIGHT / 2, 0.0]),
    "OPENCV": (4, [FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, 0.0, 0.0, 0.0, 0.0]),
    "OPENCV_FISHEYE": (5, [FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, 0.0, 0.0, 0.0, 0.0]),
}


def as_colmap(found, folder="garden", suffix=".bin", model="PINHOLE", place="sparse/0", points=True, parameters=None):
    """A model of COLMAP beside its images; numbers of images are not in the order of their names."""
    number, usual = MODELS[model]
    parameters = usual if parameters is None else parameters
    poses = [np.linalg.inv(pose) for pose in found.poses]
    names = [f"view {k}.png" for k in range(len(poses))]
    rows = [
        (7 + k, quaternion(pose[:3, :3]), pose[:3, 3], 3, name)
        for k, (pose, name) in enumerate(zip(poses, names, strict=True))
    ]
    rows = rows[::-1]
    if suffix == ".txt":
        cameras = f"# Camera list\n#   CAMERA_ID, MODEL\n3 {model} {WIDTH} {HEIGHT} {' '.join(map(repr, parameters))}\n"
        images = "# Image list\n"
        for image, q, t, camera, name in rows:
            images += f"{image} {' '.join(repr(float(x)) for x in (*q, *t))} {camera} {name}\n"
            images += "\n" if image % 2 else "3.5 4.5 -1 7.25 8.5 11\n"
        spots = "".join(
            f"{k} {' '.join(repr(float(x)) for x in p)} 1 2 3 0.5 7 0\n" for k, p in enumerate(found.points)
        )
        texts = {"cameras": cameras.encode(), "images": images.encode(), "points3D": spots.encode()}
    else:
        cameras = struct.pack("<QIiQQ", 1, 3, number, WIDTH, HEIGHT) + struct.pack(f"<{len(parameters)}d", *parameters)
        images = struct.pack("<Q", len(rows))
        for image, q, t, camera, name in rows:
            images += struct.pack("<I7dI", image, *q, *t, camera) + name.encode() + b"\0"
            images += struct.pack("<Q", image % 2) + struct.pack("<ddq", 3.5, 4.5, -1) * (image % 2)
        spots = struct.pack("<Q", len(found.points))
        for k, point in enumerate(found.points):
            spots += struct.pack("<Q3d3BdQ", k, *point, 1, 2, 3, 0.5, k % 2) + struct.pack("<II", 7, 0) * (k % 2)
        texts = {"cameras": cameras, "images": images, "points3D": spots}
    files = {f"{folder}/{place}/{part}{suffix}": text for part, text in texts.items() if points or part != "points3D"}
    return files | {f"{folder}/images/{name}": encoded(image) for name, image in zip(names, found.images, strict=True)}


def as_llff(found, folder="fern", near=2.5, far=5.5):
    """poses_bounds.npy: axes down, right and backwards, place, (height, width, focal length), and two depths."""
    rows = []
    for pose in found.poses:
        right, down, forward, place = pose[:3].T
        matrix = np.stack([down, right, -forward, place, [HEIGHT, WIDTH, FOCAL]], axis=1)
        rows.append([*matrix.ravel(), near, far])
    buffer = io.BytesIO()
    np.save(buffer, np.array(rows))
    files = {f"{folder}/images/IMG_{k:04d}.JPG": encoded(image, "JPEG") for k, image in enumerate(found.images)}
    return files | {f"{folder}/poses_bounds.npy": buffer.getvalue()}
