"""When a point has masks enough: the next plan of a campaign that stops by itself.

A point is looked at after numbers of masks that the campaign file alone decides, so that the same file gives the same trials however often
it was interrupted and however many workers ran it. Its interval is a confidence sequence, which such looks do not invalidate.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.analysis.results import point_of
from edgechaos.hil.analysis.sampled import ResultOf, next_samples
from edgechaos.hil.campaign.config import Campaign
from edgechaos.hil.campaign.plan import CampaignPlan, Cell, Place, Trial, plan_campaign
from edgechaos.hil.campaign.sampling import sample_cells, whole_counts
from edgechaos.hil.execute.evaluate import TrialResult


def whole_plan(campaign: Campaign, graph: IntegerGraph) -> CampaignPlan:
    """As many trials as a campaign may take; which single faults a sample draws after its pilot, only its results decide."""
    return plan_campaign(campaign, samples=sample_cells(campaign, graph, whole_counts(campaign, graph)))


def first_plan(campaign: Campaign, graph: IntegerGraph, whole: CampaignPlan | None = None) -> CampaignPlan:
    """The trials before the first look and the pilots of samples; all of them, `whole`, where the campaign does not stop by itself."""
    if whole is not None and campaign.stop is None and not campaign.sample:
        return whole
    samples, masks = sample_cells(campaign, graph), None
    if campaign.stop is not None:
        masks = {cell.place: next(campaign.stop.looks(len(cell.trials))) for cell in plan_campaign(campaign).cells}
    return plan_campaign(campaign, masks, samples)


def next_plan(campaign: Campaign, graph: IntegerGraph, plan: CampaignPlan, result_of: ResultOf) -> CampaignPlan | None:
    """The plan with more masks at every point whose interval is too wide, and more faults of samples; None where nothing is left.

    A point whose trials gave no interval at all gets no more of them: the infrastructure failed it.
    """
    masks: dict[Place, int] = {cell.place: len(cell.trials) for cell in plan.cells}
    for cell in plan.cells if campaign.stop else ():
        now, most = len(cell.trials), campaign.masks_of(cell.sweep)
        known = {t: r for t in (*cell.trials, *cell.clean) if (r := result_of(t)) is not None} if now < most else {}
        if campaign.stop and known and _width(campaign, campaign.stop.quantity, cell, known) > campaign.stop.width:
            masks[cell.place] = next(n for n in campaign.stop.looks(most) if n > now)
    samples = next_samples(campaign, graph, plan, result_of)
    grown = any(masks[cell.place] > len(cell.trials) for cell in plan.cells) or samples != plan.samples
    return plan_campaign(campaign, masks, samples) if grown else None


def _width(campaign: Campaign, quantity: str, cell: Cell, known: Mapping[Trial, TrialResult]) -> float:
    """Of the point's interval, from bound to bound; 0 where there is no interval."""
    point = point_of(campaign, cell, known)
    estimate = getattr(point, quantity) if point else None
    return estimate.high - estimate.low if estimate else 0.0
