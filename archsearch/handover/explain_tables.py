"""Tables of an explanation: what the networks predict, and the receptive fields of their stages."""

from typing import Any

from archsearch.handover.explain_picture import said, short_name
from archsearch.handover.explain_spec import ExplainedNetwork, Explanation, StageField
from archsearch.utils.tables import Document, Table

#: What the columns of the fields mean.
NOTE = (
    "theoretical: what the central output of a stage may depend on, beyond the image's border where it is larger; "
    "effective: side of the smallest square of pixels that holds 95 % of its absolute gradient, averaged over these "
    "images (Luo et al. 2016)"
)


def explanation_document(explanation: Explanation) -> Document:
    """Return the predictions and the fields as tables; CSV holds the fields, a line per stage, JSON everything."""
    networks = explanation.networks
    predictions = Table(
        ["image", *(network.name for network in networks)],
        [
            (short_name(explanation, row), *(said(network.sights[row]) for network in networks))
            for row in range(len(explanation.images))
        ],
        words=range(1 + len(networks)),
        title="predictions, with the class that is explained",
    )
    fields = Table(
        ["network", "stage", "layer", "theoretical", "effective"],
        [
            (network.name, field.stage, field.layer, theoretical(field), effective(field))
            for network in networks
            for field in network.fields
        ],
        words=(0, 2),
        title=f"receptive fields, measured on {_images(len(explanation.images))}",
        notes=(NOTE,),
        grouped=True,
    )
    records = [_record(network, field) for network in networks for field in network.fields]
    return Document([predictions, fields], records, data=_data(explanation))


def _images(count: int) -> str:
    return f"{count} image{'s' if count != 1 else ''}"


def theoretical(field: StageField) -> str:
    """Return the theoretical field in words."""
    if field.theoretical is None:
        return "not known"
    if field.theoretical == "image":
        return "whole image"
    rows, columns = field.theoretical
    return f"{rows} x {columns} px"


def effective(field: StageField) -> str:
    """Return the effective field in words."""
    return "no map" if field.effective is None else f"{field.effective} x {field.effective} px"


def _record(network: ExplainedNetwork, field: StageField) -> dict[str, Any]:
    """Return the fields of a stage in plain units."""
    known = field.theoretical
    return {
        "network": network.name,
        "img_size": network.img_size,
        "stage": field.stage,
        "layer": field.layer,
        "theoretical": known if known is None or isinstance(known, str) else "x".join(map(str, known)),
        "effective": field.effective,
    }


def _data(explanation: Explanation) -> dict[str, Any]:
    """Return everything but the pictures, ready for JSON."""
    return {
        "images": [str(file) for file in explanation.images],
        "networks": [
            {
                "network": network.name,
                "weights": network.weights,
                "accuracy": network.accuracy,
                "preprocessing": network.preprocessing,
                "stage": network.stage,
                "layer": network.layer,
                "map_side": network.map_side,
                "predictions": [
                    {
                        "predicted": sight.predicted,
                        "probability": sight.probability,
                        "target": sight.target,
                        "target_probability": sight.target_probability,
                    }
                    for sight in network.sights
                ],
                "fields": [_record(network, field) for field in network.fields],
            }
            for network in explanation.networks
        ],
    }
