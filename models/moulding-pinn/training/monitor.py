"""The exported graph: from a window to all outputs of the package."""

import torch
from torch import Tensor, nn

from edgeai.plant import mould

from . import network, physics, signals
from .recipe import Limits
from .windows import legendre

PART_POINTS, STEEL_POINTS = (0.1, 0.3, 0.5, 0.7, 0.9), (0.04, 0.15, 0.4, 0.8)
"""Depths of the collocation points of the residual, over half the wall and over the steel."""
ZETAS = (0.4, 0.6, 0.8, 0.95)  # times of the collocation points in each phase


class Monitor(nn.Module):
    """Maps a window (B, W, 9) to all outputs, in engineering units on both sides."""

    field_part: Tensor
    field_steel: Tensor
    start_of: Tensor
    zeta_of: Tensor
    now_part: Tensor
    now_steel: Tensor
    ejection: Tensor
    read: Tensor
    fine_weight: Tensor
    part_rate: Tensor
    part_bend: Tensor
    steel_rate: Tensor
    steel_bend: Tensor
    face: Tensor
    face_slope: Tensor
    wall: Tensor
    wall_slope: Tensor
    sink: Tensor
    sink_slope: Tensor
    twice: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        operator: nn.Module,
        modes: Tensor,
        length: int,
        *,
        limits: Limits,
        quantiles: tuple[float, float, float] = (1.645, 1.645, 1.645),
    ) -> None:
        """Build the graph from the fitted networks.

        Args:
            encoder: Fitted encoder (`fit`).
            operator: Fitted operator (`fit`).
            modes: (CYCLE_SIZE, MODES), coefficients of each mode.
            length: Samples in a window.
            limits: Limits of the evidence.
            quantiles: Conformal factors of the intervals of ejection, coolant and contact.
        """
        super().__init__()
        self.quantiles = quantiles
        self.aligner, self.encoder, self.operator = network.Aligner(length), encoder, operator
        self.limits = limits
        depth = mould.CHANNEL_DEPTH_M
        part = [
            network.point_rows(modes, phase, zeta, x, "part")
            for phase, zeta in signals.FIELD_TIMES
            for x in signals.PART_DEPTHS
        ]
        steel = [
            network.point_rows(modes, phase, zeta, y / depth, "steel")
            for phase, zeta in signals.FIELD_TIMES
            for y in signals.STEEL_DEPTHS
        ]
        self._keep("field_part", torch.stack(part))
        self._keep("field_steel", torch.stack(steel))
        self._keep("start_of", torch.tensor([float(p) for p, _ in signals.FIELD_TIMES]))
        self._keep("zeta_of", torch.tensor([z for _, z in signals.FIELD_TIMES]))
        fine = torch.linspace(0.0, 1.0, network.FINE).tolist()
        closed = [[network.space_rows(modes, p, x, "part") for x in fine] for p in range(3)]
        inside = [
            [network.space_rows(modes, p, y / depth, "steel") for y in signals.STEEL_DEPTHS]
            for p in range(4)
        ]
        self._keep("now_part", torch.stack([torch.stack(rows) for rows in closed]).flatten(0, 1))
        self._keep("now_steel", torch.stack([torch.stack(rows) for rows in inside]).flatten(0, 1))
        last = [
            network.point_rows(modes, 2, 1.0, 0.0, "part", order=(0, order)) for order in (0, 1)
        ]
        self._keep("ejection", torch.stack(last))
        nodes = [
            (phase, number / (count - 1))
            for phase, count in enumerate(network.HAT_NODES)
            for number in range(count)
        ]
        deep = mould.DEEP_DEPTH_M / depth
        read = [
            torch.stack(
                [
                    network.point_rows(modes, p, z, 0.0, "near"),
                    network.point_rows(modes, p, z, deep, "steel"),
                ]
            )
            for p, z in nodes
        ]
        self._keep("read", torch.stack(read).flatten(0, 1))
        self._residual_rows(modes)
        self._keep(
            "fine_weight",
            torch.tensor([0.5, *[1.0] * (network.FINE - 2), 0.5]) / (network.FINE - 1),
        )

    def _keep(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values.to(torch.float32).contiguous())

    def _residual_rows(self, modes: Tensor) -> None:
        """Store the exact derivatives of every mode at the collocation points as constants."""

        def rows(
            phase: int, points: tuple[float, ...], kind: str, order: tuple[int, int]
        ) -> Tensor:
            found = [
                network.point_rows(modes, phase, zeta, at, kind, order=order)
                for at in points
                for zeta in ZETAS
            ]
            return torch.stack(found)

        def every(
            points: tuple[float, ...], kind: str, order: tuple[int, int], last: int
        ) -> Tensor:
            return torch.cat([rows(phase, points, kind, order) for phase in range(last)])

        self._keep("part_rate", every(PART_POINTS, "part", (0, 1), 3))
        self._keep("part_bend", every(PART_POINTS, "part", (2, 0), 3) * physics.PART_RATE)
        self._keep("steel_rate", every(STEEL_POINTS, "steel", (0, 1), 4))
        self._keep("steel_bend", every(STEEL_POINTS, "steel", (2, 0), 4) * physics.STEEL_RATE)
        self._keep("face", every((1.0,), "part", (0, 0), 3))
        self._keep("face_slope", every((1.0,), "part", (1, 0), 3) * physics.PART_CONDUCTANCE)
        self._keep("wall", every((0.0,), "steel", (0, 0), 3))
        self._keep("wall_slope", every((0.0,), "steel", (1, 0), 3) * physics.STEEL_CONDUCTANCE)
        self._keep("sink", every((1.0,), "steel", (0, 0), 4))
        self._keep("sink_slope", every((1.0,), "steel", (1, 0), 4) * physics.STEEL_CONDUCTANCE)
        self._keep("twice", 2.0 * torch.tensor(ZETAS))

    def forward(self, window: Tensor) -> dict[str, Tensor]:
        """Return every output of the package by name."""
        aligned = self.aligner(window)
        latent = self.encoder(aligned)
        melt, water = latent["melt"], latent["water"]
        excess = melt - water
        inputs = network.linear_inputs(melt, water, latent["profile"])
        amplitude = self.operator(latent["conditions"], inputs)
        out = self._field(aligned, amplitude, excess, water)
        out |= self._now(aligned, amplitude, excess, water)
        out |= self._identified(aligned, latent)
        out |= self._ejection(aligned, amplitude, latent, excess, water)
        out["residual"] = self._residual(aligned, latent, amplitude)
        out["sensor_mismatch"] = self._mismatch(aligned, latent, amplitude, excess)
        trained = self._domain(latent)
        # The score keeps to the conditions of a cycle: a stop is no fault of the machine.
        out["domain"] = torch.maximum(trained, standstill(window))
        evidence = self._evidence(out, trained)
        out["evidence"] = evidence
        out["score"] = _largest(evidence)
        return out

    def _field(self, aligned: dict[str, Tensor], amplitude: Tensor, excess: Tensor, water: Tensor
               ) -> dict[str, Tensor]:  # fmt: skip
        times = len(signals.FIELD_TIMES)
        part = torch.matmul(amplitude, self.field_part.T).reshape(
            -1, times, len(signals.PART_DEPTHS)
        )
        steel = torch.matmul(amplitude, self.field_steel.T)
        steel = steel.reshape(-1, times, len(signals.STEEL_DEPTHS))
        whole = torch.cat([part, steel], -1) * excess[:, None, None] + water[:, None, None]
        fill, lost = aligned["timeline"][:, 0:1], aligned["timeline"][:, 1:2]
        spans = aligned["spans"]
        zeta2 = self.zeta_of.square()
        in_held, in_lost = (
            torch.clamp(1.0 - torch.abs(self.start_of - n), min=0.0) for n in (1, 2)
        )
        in_fill = 1.0 - in_held - in_lost
        when = (
            in_fill * spans[:, 0:1] * zeta2
            + in_held * (fill + spans[:, 1:2] * zeta2)
            + in_lost * (lost + spans[:, 2:3] * zeta2)
        )
        return {"field": whole, "field_time": when}

    def _now(self, aligned: dict[str, Tensor], amplitude: Tensor, excess: Tensor, water: Tensor
             ) -> dict[str, Tensor]:  # fmt: skip
        time = legendre(aligned["zeta_now"])  # (B, 4, TIME)
        now = aligned["now"]
        # While the mould is open, show the part as it was at ejection.
        held = torch.cat([now[:, :2], now[:, 2:3] + now[:, 3:4]], 1)

        def at(rows: Tensor, when: Tensor, points: int) -> Tensor:
            """Return degC (B, points).

            Args:
                rows: (phases * points, MODES, TIME).
                when: (B, phases, TIME).
                points: Number of points.
            """
            whole = torch.matmul(amplitude, rows.permute(1, 0, 2).flatten(1))
            whole = whole.reshape(-1, when.shape[1], points, physics.TIME_TERMS)
            flat = (whole * when.unsqueeze(2)).permute(0, 2, 1, 3).flatten(2)
            return _total(flat) * excess[:, None] + water[:, None]

        steel = at(self.now_steel, time * now.unsqueeze(-1), len(signals.STEEL_DEPTHS))
        part = at(self.now_part, time[:, :3] * held.unsqueeze(-1), network.FINE)
        solid = torch.clamp((network.FROZEN_DEGC - part) / network.FREEZING_K + 0.5, 0.0, 1.0)
        step = (network.FINE - 1) // (len(signals.PART_DEPTHS) - 1)
        return {
            "cavity_wall_temperature": steel[:, 0],
            "part_core_temperature": part[:, 0],
            "solidified_fraction": torch.matmul(solid, self.fine_weight),
            "temperature_profile": torch.cat([part[:, ::step], steel], 1),
        }

    def _identified(
        self, aligned: dict[str, Tensor], latent: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        conditions, spreads = latent["conditions"], latent["spreads"]
        coolant, factor = conditions[:, 0].exp(), conditions[:, 1].exp()
        lost = conditions[:, 2].exp()
        fill, gone, eject = aligned["timeline"].unbind(1)
        contact = (2500.0 * factor * (gone - fill) + lost * (eject - gone)) / (eject - fill)
        width = torch.exp(torch.clamp(spreads, -8.0, 3.0)) * 0.05
        quantiles = self.quantiles
        coolant_width = torch.exp(quantiles[1] * width[:, 1])
        contact_width = torch.exp(quantiles[2] * width[:, 2])
        return {
            "coolant_coefficient": coolant,
            "coolant_coefficient_interval": torch.stack(
                [coolant / coolant_width, coolant * coolant_width], 1
            ),
            "contact_coefficient": contact,
            "contact_coefficient_interval": torch.stack(
                [contact / contact_width, contact * contact_width], 1
            ),
            "melt_temperature_estimate": latent["melt"],
            "near_drift": latent["offsets"][:, 0],
            "deep_drift": latent["offsets"][:, 1],
        }

    def _ejection(self, aligned: dict[str, Tensor], amplitude: Tensor, latent: dict[str, Tensor],
                  excess: Tensor, water: Tensor) -> dict[str, Tensor]:  # fmt: skip
        at = torch.matmul(amplitude, self.ejection.T)
        core, span = at[:, 0], aligned["spans"][:, 2]
        # The core's rate of decay towards the water: at zeta = 1, dT/dt = T_zeta / (2 span).
        slope = torch.clamp(-at[:, 1] / (2.0 * span), min=1e-4)
        ratio = torch.clamp(
            core * excess / torch.clamp(self.limits.target_degc - water, min=5.0), min=0.05
        )
        correction = torch.clamp(torch.log(ratio) * torch.clamp(core, min=1e-3) / slope, -3.0, 10.0)
        spread = torch.exp(torch.clamp(latent["spreads"][:, 0], -8.0, 3.0)) * 0.01
        half = self.quantiles[0] * spread * excess
        degc = core * excess + water
        return {
            "ejection_temperature": degc,
            "ejection_temperature_interval": torch.stack([degc - half, degc + half], 1),
            "cooling_time_correction": correction,
        }

    def _residual(self, aligned: dict[str, Tensor], latent: dict[str, Tensor], amplitude: Tensor
                  ) -> Tensor:  # fmt: skip
        spans = aligned["spans"]
        conditions = latent["conditions"]
        factor, lost = conditions[:, 1].exp(), conditions[:, 2].exp()
        contact = torch.stack([5000.0 * factor, 2500.0 * factor, lost], 1)
        film = conditions[:, 0].exp() * mould.WETTED_RATIO

        def at(rows: Tensor, phases: int) -> Tensor:
            return torch.matmul(amplitude, rows.T).reshape(-1, phases, len(rows) // phases)

        def twice(phases: int, points: int) -> Tensor:
            return spans[:, :phases].unsqueeze(-1) * self.twice.repeat(points)

        part = at(self.part_rate, 3) - twice(3, len(PART_POINTS)) * at(self.part_bend, 3)
        steel = at(self.steel_rate, 4) - twice(4, len(STEEL_POINTS)) * at(self.steel_bend, 4)
        jump = at(self.face, 3) - at(self.wall, 3)
        flux = contact.unsqueeze(-1) * jump
        inner = at(self.face_slope, 3) + flux
        outer = at(self.wall_slope, 3) + flux
        carried = film[:, None, None] * at(self.sink, 4)
        sink = at(self.sink_slope, 4) + carried
        terms = [
            _mean_square(part) / (_mean_square(at(self.part_rate, 3)) + 1e-6),
            _mean_square(steel) / (_mean_square(at(self.steel_rate, 4)) + 1e-8),
            _mean_square(inner) / (_mean_square(flux) + 1e-3),
            _mean_square(outer) / (_mean_square(flux) + 1e-3),
            _mean_square(sink) / (_mean_square(carried) + 1e-3),
        ]
        return torch.sqrt((terms[0] + terms[1] + terms[2] + terms[3] + terms[4]) / 5.0 + 1e-12)

    def _mismatch(self, aligned: dict[str, Tensor], latent: dict[str, Tensor], amplitude: Tensor,
                  excess: Tensor) -> Tensor:  # fmt: skip
        """Return the root mean square of readings minus field, by position in the cycle, K."""
        nodes = torch.matmul(amplitude, self.read.T).reshape(-1, network.HATS, 2)
        shown = torch.matmul(aligned["hat"], nodes)
        drift = latent["offsets"] / excess[:, None]
        left = aligned["above"] - shown - drift.unsqueeze(1)
        share, count = aligned["share"], aligned["count"]
        gathered = torch.matmul(aligned["hat"].transpose(1, 2), left) * share.unsqueeze(-1)
        weight = count.unsqueeze(-1) * gathered.square()
        total = _total(weight.flatten(1)) / (2.0 * _total(count) + 1.0)
        return torch.sqrt(total + 1e-12) * excess

    def _domain(self, latent: dict[str, Tensor]) -> Tensor:
        unit = torch.abs(network.scaled(latent["conditions"]))
        extra = [
            torch.abs(value - (low + high) / 2) / ((high - low) / 2)
            for value, (low, high) in (
                (latent["melt"], signals.MELT_RANGE),
                (latent["water"], signals.WATER_RANGE),
            )
        ]
        return _largest(torch.cat([unit, torch.stack(extra, 1)], 1))

    def _evidence(self, out: dict[str, Tensor], trained: Tensor) -> Tensor:
        limits = self.limits
        span = torch.log(torch.tensor(limits.coolant_normal_w_m2_k / limits.coolant_w_m2_k)).item()
        coolant = -torch.log(out["coolant_coefficient"] / limits.coolant_normal_w_m2_k) / span
        contact = (limits.contact_normal_w_m2_k - out["contact_coefficient"]) / (
            limits.contact_normal_w_m2_k - limits.contact_w_m2_k
        )
        melt = (out["melt_temperature_estimate"] - limits.melt_normal_degc) / (
            limits.melt_degc - limits.melt_normal_degc
        )
        evidence = torch.stack(
            [
                torch.abs(out["near_drift"]) / limits.drift_k,
                torch.abs(out["deep_drift"]) / limits.drift_k,
                coolant, contact, melt,
                trained / limits.domain,
                out["sensor_mismatch"] / limits.mismatch_k,
                out["residual"] / limits.residual,
            ],
            1,
        )  # fmt: skip
        return torch.clamp(evidence, min=0.0)


def standstill(window: Tensor) -> Tensor:
    """Return how far the cycle has stood still in each window (B, W, 9), 1 at the trained edge.

    The longest time with the mould open, and the longest time since the start of filling with the
    mould closed, scaled like the conditions of the domain: middle and half of the trained range.
    The cycle in progress is shorter, so only the upper end counts.
    """
    phase = window[..., signals.PHASE]
    is_open = torch.clamp(phase - 2.0, 0.0, 1.0)
    opened = window[..., signals.ELAPSED] * is_open
    closed = window[..., signals.CYCLE] * (1.0 - is_open)
    eject = (float(signals.LOW[5]), float(signals.HIGH[5]))
    terms = [
        (_longest(values) - (low + high) / 2.0) / ((high - low) / 2.0)
        for values, (low, high) in ((opened, signals.OPEN_RANGE), (closed, eject))
    ]
    return torch.maximum(terms[0], terms[1])


def _longest(values: Tensor) -> Tensor:
    """Return the largest value of each row (B, n), by maxima of halves."""
    while (count := values.shape[1]) > 1:
        half = (count + 1) // 2
        values = torch.maximum(values[:, :half], values[:, count - half :])
    return values[:, 0]


def _largest(values: Tensor) -> Tensor:
    """Return the largest value of each row (B, n), by pairwise maxima."""
    parts = list(values.unbind(1))
    best = parts[0]
    for part in parts[1:]:
        best = torch.maximum(best, part)
    return best


def _total(values: Tensor) -> Tensor:
    """Sum over the last axis by MatMul: ReduceSum rounds differently from batch to batch."""
    return torch.matmul(values, torch.ones(values.shape[-1], dtype=values.dtype))


def _mean_square(values: Tensor) -> Tensor:
    flat = values.flatten(1)
    return _total(flat.square()) / flat.shape[1]
