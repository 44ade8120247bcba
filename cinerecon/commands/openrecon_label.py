"""The label of an OpenRecon package: the application, its requirements, and its user interface at the scanner.

Schema version 1.1.0, as described in the packaging guide of the manufacturer (see docs/how-to/openrecon-and-fire.md).
The parameters are those that `cinerecon.reconstruction.stream.protocol` reads.
"""

import re
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from cinerecon.commands.openrecon_options import LabelOptions
from cinerecon.errors import ConfigError, nearest_name
from cinerecon.io.mrd_stream import MRD_PORT
from cinerecon.methods.table import METHODS
from cinerecon.reconstruction.stream.protocol import MODEL, PARAMETERS, ProtocolParameter

LABEL_KEY = "com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0"
"""Key of the label in the container image; its value is the JSON text in base64."""
INJECTORS = ("image", "compleximage")
"""How images enter the reconstruction of the scanner: as images, or in place of its Fourier transform."""

Label = dict[str, Any]


def make_label(options: LabelOptions) -> Label:
    """The label of a package with these options.

    Raises
    ------
    ConfigError
        If a method or the injector is unknown, or a name does not consist of letters and digits.
    """
    for option, name in (("--id", options.id), ("--vendor", options.vendor)):
        if not re.fullmatch(r"[A-Za-z0-9]+", name):
            raise ConfigError(f"'{name}' must consist of letters and digits", where=option)
    if options.injector not in INJECTORS:
        hint = nearest_name(options.injector, INJECTORS)
        raise ConfigError(f"unknown injector '{options.injector}'", where="--injector", hint=hint)
    unknown = [name for name in options.models if name not in METHODS]
    if unknown or not options.models:
        what = f"unknown method '{unknown[0]}'" if unknown else "a package requires a method"
        raise ConfigError(what, where="--model", hint=nearest_name("".join(unknown[:1]), list(METHODS)))
    return {
        "general": _general(options),
        "reconstruction": _reconstruction(options),
        "parameters": [_method_parameter(options.models), *map(_parameter, PARAMETERS)],
    }


def release() -> str:
    """Major, minor and patch version, the form that the label requires."""
    numbers = re.match(r"\d+(\.\d+){0,2}", version("cinerecon"))
    parts = numbers[0].split(".") if numbers else ["0"]
    return ".".join([*parts, "0", "0"][:3])


def _general(options: LabelOptions) -> Label:
    number = release()
    regulatory = {
        "device_trade_name": options.id,
        "production_identifier": number,
        "manufacturer_address": options.address,
        "made_in": options.made_in,
        "manufacture_date": options.date or datetime.now(UTC).strftime("%Y/%m/%d"),
        "material_number": f"{options.id}_{number}",
        "gtin": "",
        "udi": "",
        "safety_advices": "Research use only. Not a medical device; the images are not for diagnosis.",
        "special_operating_instructions": "",
        "additional_relevant_information": "",
    }
    return {
        "name": _english(options.id),
        "version": number,
        "vendor": options.vendor,
        "information": _english("Reconstruction of accelerated cine cardiac MRI, low rank and deep unrolled networks."),
        "id": options.id,
        "regulatory_information": regulatory,
    }


def _reconstruction(options: LabelOptions) -> Label:
    """Requirements of the application, which compresses coils itself and needs unfiltered readouts."""
    return {
        "transfer_protocol": {"protocol": "ISMRMRD", "version": "1.4.1"},
        "port": MRD_PORT,
        "emitter": "raw",
        "injector": options.injector,
        "can_process_adjustment_data": False,
        "can_use_gpu": options.gpu,
        "min_count_required_gpus": 0,
        "min_required_gpu_memory": options.gpu_memory_mb if options.gpu else 0,
        "min_required_memory": options.memory_mb,
        "min_count_required_cpu_cores": options.cores,
        "content_qualification_type": "RESEARCH",
        "require_readout_filter_off": True,
        "channel_compression": {"require_state": "off"},
    }


def _method_parameter(models: tuple[str, ...]) -> Label:
    """The parameter that chooses the method; the first one is the default."""
    return {
        "id": MODEL,
        "type": "choice",
        "label": _english("Method"),
        "information": _english("Method of the reconstruction."),
        "values": [{"id": name, "name": _english(METHODS[name].summary)} for name in models],
        "default": models[0],
    }


def _parameter(parameter: ProtocolParameter) -> Label:
    """The entry of a parameter in the user interface."""
    description = parameter.description
    entry: Label = {
        "id": parameter.id,
        "type": parameter.kind,
        "label": _english(parameter.label),
        "information": _english(f"{description[:1].upper()}{description[1:]}."),
        "default": parameter.default,
    }
    if parameter.choices:
        entry["values"] = [{"id": choice, "name": _english(choice)} for choice in parameter.choices]
    return entry


def _english(text: str) -> dict[str, str]:
    """A text of the user interface."""
    return {"en": text}
