"""Bad input: each case ends in one sentence that names it, or is counted as lost; never in a
traceback, a hang, gigabytes of memory, or a set that is smaller without a word."""

import numpy as np
from campaign import Case, main
from inputs import bombs, configs, containers, encoders, images, texts

TITLE = "Bad input"
CONTAINERS = "unit/images/test_bad_containers.py"
TEXTS = "unit/texts/test_bad_texts.py"
EMBEDDINGS = "unit/encoders/test_bad_embeddings.py"
BUNDLES = "unit/detection/test_bad_bundle.py"
CHECKPOINTS = "unit/encoders/test_bad_checkpoints.py"
FOUND = {
    "a name or path that YAML took for a number or no was not the one in the message": (
        "test_config.py::test_mistake_is_named_with_its_remedy"
    ),
    "an image set that held the results failed at every run but the first": (
        "unit/images/test_folders.py::test_a_folder_that_holds_the_results_is_refused"
    ),
    "a path that Snakemake took for a number had no remedy": (
        "test_score.py::test_what_snakemake_took_for_no_text_is_named"
    ),
    "a tar header of negative size read in a circle": (
        f"{CONTAINERS}::test_a_size_in_a_tar_header_that_no_file_has_is_named"
    ),
    "a number in a pax header ended in a traceback": (
        f"{CONTAINERS}::test_a_number_of_a_pax_header_that_is_none_is_named"
    ),
    "a tar member of gigabytes was read into memory": (
        f"{CONTAINERS}::test_a_member_that_no_memory_holds_is_rejected_unread"
    ),
    "a tar name of gigabytes was read into memory": (
        f"{CONTAINERS}::test_a_name_of_gigabytes_is_not_read"
    ),
    "pipes and devices among archives, tables and lists were read without an end": (
        f"{CONTAINERS}::test_pipes_and_devices_are_not_read"
    ),
    "half characters in labels ended in a traceback, deep JSON too": (
        f"{CONTAINERS}::test_labels_that_are_no_text_are_rejected"
    ),
    "names of images in Parquet that are no texts ended in a traceback": (
        f"{CONTAINERS}::test_names_in_parquet_that_are_no_texts_are_refused"
    ),
    "nested metadata of Parquet ended in a traceback": (
        f"{CONTAINERS}::test_metadata_that_are_nested_too_deeply_say_nothing"
    ),
    "a column twice in a table of images: a traceback, or the last one counted": (
        f"{CONTAINERS}::test_a_column_that_is_there_twice_is_named"
    ),
    "a repeated image or label in Parquet took gigabytes": (
        f"{CONTAINERS}::test_images_that_are_stored_once_and_named_often_take_no_more_memory"
    ),
    "a row group may tell any number of rows": (
        f"{CONTAINERS}::test_a_row_group_of_more_rows_than_images_can_be_is_refused"
    ),
    "an open quote in a list swallowed its rows without a word": (
        f"{CONTAINERS}::test_a_quote_in_a_list_swallows_no_rows"
    ),
    "deeply nested folders ended in a traceback": (
        f"{CONTAINERS}::test_folders_may_be_nested_deeper_than_calls_can_be"
    ),
    "the check of image sets counted other losses than the listing": (
        f"{CONTAINERS}::test_the_check_and_the_listing_count_the_same_losses"
    ),
    "messages of libraries made sentences of several lines": (
        f"{CONTAINERS}::test_messages_are_one_line"
    ),
    "a thumbnail of an elongated image had no pixels": (
        f"{CONTAINERS}::test_an_elongated_image_has_a_thumbnail_of_one_pixel"
    ),
    "a line of gigabytes was read into memory": (
        f"{TEXTS}::test_a_line_that_no_list_has_is_not_read_to_its_end"
    ),
    "a quote in a table of words or a tree made one text of many rows": (
        f"{TEXTS}::test_a_quote_in_a_table_swallows_no_rows"
    ),
    "a column twice in a table of texts: a traceback, or the last one counted": (
        f"{TEXTS}::test_a_column_that_is_there_twice_is_named"
    ),
    "a tree with a long chain took hours": f"{TEXTS}::test_a_long_chain_is_read_in_time",
    "a damaged WordNet ended in a traceback or a message of a thousand letters": (
        f"{TEXTS}::test_a_damaged_wordnet_is_named"
    ),
    "a header of an array that cannot be ended in a traceback": (
        f"{EMBEDDINGS}::test_a_header_of_an_array_that_cannot_be"
    ),
    "ids, labels and names of embeddings that are no texts ended in a traceback": (
        f"{EMBEDDINGS}::test_a_column_that_holds_no_texts"
    ),
    "a column twice in an index ended in a traceback": (
        f"{EMBEDDINGS}::test_a_column_that_is_there_twice"
    ),
    "a YAML file that expands or holds itself ended in a hang or a traceback": (
        "unit/test_yaml_text.py::test_what_no_config_can_be_is_named"
    ),
    "messages held values and lists of names of any length": (
        "test_config.py::test_a_message_is_short_whatever_the_value_is"
    ),
    "an edited description of a detector ended in a traceback": (
        f"{BUNDLES}::test_a_value_of_another_kind_is_named"
    ),
    "arrays of a detector that do not fit ended in a traceback": (
        f"{BUNDLES}::test_arrays_that_do_not_fit_are_named"
    ),
    "a checkpoint's config that is no config ended in a traceback": (
        f"{CHECKPOINTS}::test_a_config_that_is_none_is_named"
    ),
    "values of another kind in a checkpoint's config: a traceback, or taken": (
        f"{CHECKPOINTS}::test_a_value_that_cannot_be_is_named_with_its_place"
    ),
    "a checkpoint's config of a huge model: hours, or all memory": (
        f"{CHECKPOINTS}::test_a_model_that_is_larger_than_its_weights_is_not_built"
    ),
    "weights that are not finite were not named, and a large scale ended in a traceback": (
        f"{CHECKPOINTS}::test_weights_that_no_trained_model_has_are_named"
    ),
    "weights that do not fit their config were not named": (
        f"{CHECKPOINTS}::test_weights_of_another_config_name_both_files"
    ),
    "in place of an empty weights file of timm others were downloaded": (
        "unit/encoders/test_timm_models.py::test_a_weights_file_without_tensors_is_refused"
    ),
    "too few words for the detector that decides ended a run before its lists": (
        "test_failures.py::test_a_detector_that_cannot_score_is_a_missing_value_with_its_reason"
    ),
    "two blocks of negatives with trees of one file name shared the first": (
        "unit/concepts/test_given.py::"
        "test_every_block_has_its_own_tree_though_their_files_have_one_name"
    ),
    "a study of the name of one of the demo inherited its OOD sets": (
        "test_config.py::test_a_users_study_inherits_nothing_from_one_of_its_name"
    ),
    "a study of the name of one that an ablation makes was replaced without a word": (
        "test_config.py::test_a_study_of_the_name_of_an_ablations_is_refused"
    ),
    "images of phones, cameras and programs that are not read vanished without a word": (
        f"{CONTAINERS}::test_images_of_formats_that_are_not_read_are_lost_not_gone"
    ),
}


def cases(short, seed):
    """The hand-made cases, those that are damaged at random, and configs that are drawn."""
    rng = np.random.default_rng(seed)
    made = images.list_cases() | containers.container_cases()
    made |= texts.text_cases() | configs.yaml_cases()
    made |= images.damaged_images(2 if short else 20, rng)
    made |= containers.damaged_containers(5 if short else 40, rng)
    each = 5 if short else 40
    made |= {f"WordNet {i}": texts.wordnet(child) for i, child in enumerate(rng.spawn(each))}
    made |= {f"embeddings {i}": texts.embeddings(c) for i, c in enumerate(rng.spawn(each))}
    made |= configs.config_cases(10 if short else 200, seed)
    made |= configs.bundle_cases(10 if short else 100, seed)
    made |= encoders.encoder_cases(short) | encoders.damaged_encoders(2 if short else 40, rng)
    if not short:
        made |= bombs.bombs()
    return [Case(name, check) for name, check in made.items()]


if __name__ == "__main__":
    main(TITLE, cases)
