"""Papers of one field come first, trees say how alike branches are, and one paper has the tree of its sections."""

import numpy as np
import pytest

from app.assistant.similar import MOST_LEAVES, average_linkage, paper_vector, section_tree, similar_papers, tree_of


@pytest.fixture(scope="module")
def indexes(small_papers):
    return {name: assistant.open().search.index for name, assistant in small_papers.items()}


def field(name: str) -> str:
    return name.partition("_")[0]


def test_the_two_most_similar_papers_are_of_the_same_field(indexes):
    names = {index.paper.id: name for name, index in indexes.items()}
    assert len({field(name) for name in indexes}) == 4 and len(indexes) == 12, "else this proves nothing"
    for name, index in indexes.items():
        found = similar_papers(index, indexes.values(), 2)
        assert [field(names[item.paper]) for item in found] == [field(name)] * 2
        assert found[0].score >= found[1].score > 0.3
        assert found[0].title == indexes[names[found[0].paper]].paper.title


def test_a_paper_is_not_similar_to_itself_and_the_count_is_kept(indexes):
    index = indexes["bread_ash"]
    assert len(similar_papers(index, indexes.values(), 100)) == 11
    assert similar_papers(index, [index]) == []
    assert len(similar_papers(index, indexes.values(), 3)) == 3


def test_the_notes_on_qlora_are_nearest_to_the_papers_on_networks(indexes, notes_assistant):
    names = {index.paper.id: name for name, index in indexes.items()}
    found = similar_papers(notes_assistant.open().search.index, indexes.values(), 3)
    assert {field(names[item.paper]) for item in found} == {"networks"}


def test_the_tree_of_papers_has_the_fields_as_branches(indexes):
    tree = tree_of(indexes["birds_swifts"], list(indexes.values()))
    assert tree.kind == "papers" and tree.names[0] == indexes["birds_swifts"].paper.title
    assert len(tree.ids) == len(tree.names) == 12 and len(tree.merges) == 11
    names = {index.paper.id: name for name, index in indexes.items()}
    members = {number: [names[paper]] for number, paper in enumerate(tree.ids)}
    for number, merge in enumerate(tree.merges, start=12):
        members[number] = members[merge.left] + members[merge.right]
    branches = [{field(name) for name in group} for group in members.values() if len(group) == 3]
    assert sorted(branch.pop() for branch in branches if len(branch) == 1) == ["birds", "bread", "bridges", "networks"]


def test_one_paper_alone_has_the_tree_of_its_sections(indexes):
    index = indexes["bread_starter"]
    tree = tree_of(index)
    assert tree == tree_of(index, [index])
    assert tree.kind == "sections" and tree.ids == ()
    assert tree.names == ("Abstract", "1 Introduction", "2 Method", "3 Results", "4 Limitations")
    assert len(tree.merges) == 4


def test_sections_of_a_long_paper_are_taken_together(notes_assistant):
    tree = section_tree(notes_assistant.open().search.index)
    assert tree.names[0] == "Abstract" and {"Section 3", "Appendix A"} <= set(tree.names)
    assert 10 < len(tree.names) <= MOST_LEAVES and len(set(tree.names)) == len(tree.names)


def test_sections_of_the_paper_have_its_titles(paper_assistant):
    tree = section_tree(paper_assistant.open().search.index)
    assert {"Abstract", "3 QLORA Finetuning", "8 Limitations and Discussion"} <= set(tree.names)
    assert not [name for name in tree.names if name.startswith(("References", "Acknowledg", "Title"))]


def test_average_linkage_is_the_mean_over_all_pairs_of_leaves():
    """Held against the definition, computed anew from the leaves at every step."""
    vectors = np.random.default_rng(3).normal(size=(17, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = vectors @ vectors.T
    groups = {number: [number] for number in range(17)}
    for number, merge in enumerate(average_linkage(vectors), start=17):

        def mean(pair, groups=groups):
            return likeness[np.ix_(groups[pair[0]], groups[pair[1]])].mean()

        pairs = [(a, b) for a in groups for b in groups if min(groups[a]) < min(groups[b])]
        best = max(pairs, key=mean)
        assert (merge.left, merge.right) == best
        assert merge.likeness == pytest.approx(mean(best), abs=1e-4)
        groups[number] = groups.pop(merge.left) + groups.pop(merge.right)
    assert len(groups) == 1


def test_average_linkage_of_few_and_of_equal_leaves():
    one = np.eye(3)[:1]
    assert average_linkage(one) == ()
    assert [merge.likeness for merge in average_linkage(np.repeat(one, 4, axis=0))] == [1.0, 1.0, 1.0]


def test_a_papers_vector_has_length_one(indexes):
    assert np.linalg.norm(paper_vector(indexes["bread_ash"])) == pytest.approx(1.0, abs=1e-5)
