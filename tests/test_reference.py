"""The reference is that of the sources as they are."""

from docs import reference


def test_the_committed_reference_is_what_the_docstrings_give():
    assert reference.OUT.read_text(encoding="utf-8") == reference.page(), "run: make reference"


def test_every_name_of_a_face_that_is_a_function_or_class_is_in_it():
    import gelora.geometry

    text = reference.OUT.read_text(encoding="utf-8")
    called = [name for name in dir(gelora.geometry) if name[0] != "_" and callable(getattr(gelora.geometry, name))]
    missing = [name for name in called if f"### {name}\n" not in text]
    assert not missing


def test_the_committed_map_is_what_the_modules_say_and_every_module_says_something():
    from docs import map as house

    text = house.page()
    assert house.OUT.read_text(encoding="utf-8") == text, "run: make reference"
    assert [line for line in text.splitlines() if line.startswith("- `") and line.endswith("` ")] == []
