import pytest

from converters.masks import masks_beside, masks_beside_clips, picture_of


def frames(*clips, count=4):
    """Frames of clips that are folders, or films by themselves."""
    return {clip: [clip] if "." in clip else [f"{clip}/{k:05}.png" for k in range(count)] for clip in clips}


FOLDERS = (
    "masks", "Annotations", "SegmentationClass", "SegmentationObject", "SegmentationClassAug", "anno", "labels", "gts",
    "ground-truth", "trimaps", "mattes", "alpha", "contours", "Scribbles", "Annotations_unsupervised", "mask-anno",
    "my masks", "segs",
)  # fmt: skip
ENDS = (
    "_mask",
    ".mask",
    "-masks",
    "_seg",
    " segmentation",
    "_gt",
    "_labels",
    "_trimap",
    ".matte",
    "_alpha",
    "_mask_1",
    "-mask2",
)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_of_masks_has_the_same_names_for_pictures_and_clips(folder):
    for above in ("", "data/train/"):
        pictures = [f"{above}images/{k}.jpg" for k in range(10)]
        masks = [f"{above}{folder}/{k}.png" for k in range(9)]
        assert masks_beside([*pictures, *masks]) == masks
        clips = frames(f"{above}JPEGImages/480p/bear", f"{above}{folder}/480p/bear")
        assert masks_beside_clips(clips) == {f"{above}{folder}/480p/bear": f"{above}JPEGImages/480p/bear"}
        films = frames(f"{above}videos/a.mp4", f"{above}{folder}/a.mp4")
        assert masks_beside_clips(films) == {f"{above}{folder}/a.mp4": f"{above}videos/a.mp4"}


@pytest.mark.parametrize("end", ENDS)
def test_a_mask_may_be_named_after_what_lies_beside_it(end):
    assert picture_of(f"x{end}") == "x"
    assert masks_beside(["a/x.jpg", f"a/x{end}.png", f"a/y{end}.png", f"b/x{end}.png"]) == [f"a/x{end}.png"]
    assert masks_beside_clips(frames("a/x.mp4", f"a/x{end}.mp4", f"a/y{end}.mp4")) == {f"a/x{end}.mp4": "a/x.mp4"}
    masks = {"masks/x": [f"masks/x/{k:05}{end}.png" for k in range(4)]}
    assert masks_beside_clips(frames("rgb/x") | masks) == {"masks/x": "rgb/x"}


@pytest.mark.parametrize("names", [("7.jpg", "00007_hair.png"), ("a.b.jpg", "a.b.mask.png"), ("IM.jpg", "im_2.png")])
def test_a_mask_of_a_picture_may_begin_with_its_name(names):
    assert masks_beside([f"images/{names[0]}", f"masks/0/{names[1]}"]) == [f"masks/0/{names[1]}"]
    assert masks_beside([names[0], f"masks/{names[1]}"]) == [f"masks/{names[1]}"]


PICTURES = {
    "of their own names": ["bottles/b1.png", "bottles/b2.png", "labels/l1.png", "labels/l2.png"],
    "most of which have none": ["bottles/1.png", "bottles/2.png", *(f"labels/{k}.png" for k in range(1, 8))],
    "all of masks": ["with_mask/1.png", "without_mask/1.png"],
    "of splits": ["seg_train/1.png", "seg_test/1.png"],
    "like masks": ["cat/1.png", "masked/1.png", "unlabeled/1.png", "segments/1.png", "alphabet/1.png"],
    "without a picture": ["x_mask.png", "y.png"],
}


@pytest.mark.parametrize("kind", PICTURES)
def test_true_pictures_stay(kind):
    assert masks_beside(PICTURES[kind]) == []


CLIPS = {
    "of other frames": frames("cat/x") | {"labels/x": [f"labels/x/{k}.png" for k in range(4)]},
    "of other names": frames("cat/x", "cat/y", "labels/z", "labels/w"),
    "numbered alike": frames("alpha", "beta", "gamma", "delta"),
    "all of masks": frames("with_mask/x", "without_mask/x"),
    "a film and a folder": frames("videos/x.mp4", "labels/x"),
    "a folder and a film": frames("videos/00000") | frames("labels/00000.mp4"),
}


@pytest.mark.parametrize("kind", CLIPS)
def test_true_clips_stay(kind):
    assert masks_beside_clips(CLIPS[kind]) == {}


def test_masks_lie_beside_their_clip_in_any_way():
    each = frames("a/rgb", "a/depth", "a/masks", "b/masks", "c/rgb", "c/masks")
    assert masks_beside_clips(each) == {"a/masks": "a/rgb", "b/masks": "", "c/masks": "c/rgb"}
    assert masks_beside_clips(frames("left", "right", "masks")) == {"masks": "left"}
    flat = frames("ant", "bear", "cow", "dog", "bear_mask", "mask_cow")
    assert masks_beside_clips(flat) == {"bear_mask": "bear", "mask_cow": "cow"}
    assert masks_beside_clips(frames("bear", "masks/bear")) == {"masks/bear": "bear"}
    objects = {"masks/bear": [f"masks/bear/{k:05}_{i}.png" for k in range(4) for i in range(2)]}
    assert masks_beside_clips(frames("images/bear") | objects) == {"masks/bear": "images/bear"}
    assert masks_beside_clips(frames("DAVIS-annotations/JPEGImages/a", "DAVIS-annotations/Annotations/a")) == {
        "DAVIS-annotations/Annotations/a": "DAVIS-annotations/JPEGImages/a"
    }


def test_masks_of_clips_that_are_not_there_lie_among_masks():
    clips = frames("JPEGImages/a", "Annotations/a", "Annotations/b")
    assert masks_beside_clips(clips) == {"Annotations/a": "JPEGImages/a", "Annotations/b": ""}
    assert masks_beside_clips(clips | frames("Annotations/c")) == {}
