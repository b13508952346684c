"""Whether vLLM would take the speculation of an engine with its models, as far as that shows before it starts."""

from collections.abc import Iterator, Sequence

from models.launcher.model_files import Shape, shape_of
from models.launcher.speculation import Drafter, Handover
from server.cli.engines import Engine
from server.settings.reading import SettingsError

V2_RUNNER = "VLLM_USE_V2_MODEL_RUNNER"


def refuse_unfit(engines: Sequence[Engine]) -> None:
    """Raise SettingsError where vLLM would not start."""
    mistakes = [mistake for engine in engines for mistake in mistakes_of(engine)]
    if mistakes:
        raise SettingsError(mistakes)


def mistakes_of(engine: Engine) -> Iterator[str]:
    """What vLLM would refuse."""
    where = f"tiers.{engine.tier}.engine"
    if engine.settings.kind == "vllm" and needs_v1_runner(engine) and is_on(engine.environment.get(V2_RUNNER)):
        yield f"{where}.env: {V2_RUNNER} forces the runner that cannot do this speculation: unset it"
    match engine.speculation, drafter_shape(engine):
        case Drafter() as drafter, Shape() as draft:
            yield from misfits(f"{where}.speculation", engine, drafter, draft)


def misfits(where: str, engine: Engine, drafter: Drafter, draft: Shape) -> Iterator[str]:
    """Where the drafter does not fit the tier's own model, or its GPUs."""
    target = target_shape(engine)
    if not drafter.heterogeneous_vocabularies and target is not None:
        sizes = draft.vocabulary, target.vocabulary
        if None not in sizes and len(set(sizes)) == 2:
            yield (
                f"{where}: the drafter has a vocabulary of {sizes[0]} tokens, the model one of {sizes[1]}, which vLLM"
                " refuses: set heterogeneous_vocabularies: true, or use method 'handover'"
            )
    gpus = tensor_parallel(engine)
    if draft.heads is not None and draft.heads % gpus:
        yield (
            f"{where}: the drafter is split over {gpus} GPUs as the model is, and its {draft.heads} attention heads"
            " cannot be: change tensor-parallel-size, or use method 'handover'"
        )


def unchecked(engine: Engine) -> Iterator[str]:
    """Models whose files are needed to tell whether the drafter fits, and that are not here."""
    if isinstance(engine.speculation, Drafter):
        if drafter_shape(engine) is None:
            yield engine.speculation.model
        if target_shape(engine) is None and not engine.speculation.heterogeneous_vocabularies:
            yield engine.path


def drafter_shape(engine: Engine) -> Shape | None:
    """The drafter's, where there is one and its files are on this machine."""
    drafter = engine.speculation
    return shape_of(drafter.model, engine.environment) if isinstance(drafter, Drafter) else None


def target_shape(engine: Engine) -> Shape | None:
    """The tier's own model's, where its files are on this machine."""
    return shape_of(engine.path, engine.environment)


def needs_v1_runner(engine: Engine) -> bool:
    """Whether vLLM has this speculation in its older model runner alone."""
    match engine.speculation:
        case Handover() | Drafter(heterogeneous_vocabularies=True):
            return True
    return False


def is_on(value: str | None) -> bool:
    """Whether a variable of vLLM's is set to more than 0."""
    return value is not None and value.strip() not in ("", "0")


def tensor_parallel(engine: Engine) -> int:
    """Over how many GPUs the engine splits its model."""
    flags = {name.replace("_", "-"): value for name, value in engine.settings.args.items()}
    size = flags.get("tensor-parallel-size", 1)
    return size if isinstance(size, int) and size > 0 else 1
