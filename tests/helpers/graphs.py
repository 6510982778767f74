"""A hypothesis strategy that draws spiking models at random; the builder itself comes with the conformance suite of devices."""

from __future__ import annotations

from hypothesis import strategies as st

from edgechaos.devices.conformance.graphs import Spec, chaos_graph, codes_for

__all__ = ["Spec", "chaos_graph", "codes_for", "specs"]


@st.composite
def specs(draw: st.DrawFn, max_layers: int = 3, max_size: int = 40) -> Spec:
    """Any shape of spiking model that the rules allow."""
    size = st.integers(1, max_size)
    layers = draw(st.integers(1, max_layers))
    mode = draw(st.sampled_from(["parallel", "stateful"]))
    sampling = draw(st.sampled_from(["ticks", "ticks", "binomial", "expected"])) if mode == "parallel" and layers == 1 else "ticks"
    return Spec(
        sizes=(draw(size), *(draw(size) for _ in range(layers)), draw(st.integers(1, 12))),
        mode=mode,
        ticks=draw(st.integers(1, 12)),
        fail_q=draw(st.sampled_from([0, 1, 655, 32768, 65535, 65536])),
        noise=sampling == "ticks" and draw(st.booleans()),
        sampling=sampling,
        per_channel=draw(st.booleans()),
        pixels=draw(st.booleans()),
        seed=draw(st.integers(0, 2**31)),
    )
