"""When a point has masks enough: the next plan of a campaign that stops by itself.

A point is looked at after numbers of masks that the campaign file alone decides, so that the same file gives the same trials however often
it was interrupted and however many workers ran it. Its interval is a confidence sequence, which such looks do not invalidate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgechaos.hil.analysis.results import point_of
from edgechaos.hil.campaign.config import Campaign
from edgechaos.hil.campaign.plan import CampaignPlan, Cell, Place, Trial, plan_campaign
from edgechaos.hil.execute.evaluate import TrialResult


def first_plan(campaign: Campaign) -> CampaignPlan:
    """The trials before the first look; all of them where the campaign does not stop by itself."""
    whole = plan_campaign(campaign)
    if campaign.stop is None:
        return whole
    return plan_campaign(campaign, {cell.place: next(campaign.stop.looks(len(cell.trials))) for cell in whole.cells})


def next_plan(campaign: Campaign, plan: CampaignPlan, result_of: Callable[[Trial], TrialResult | None]) -> CampaignPlan | None:
    """The plan with more masks at every point whose interval is too wide; None where there is none, or no more masks.

    A point whose trials gave no interval at all gets no more of them: the infrastructure failed it.
    """
    if campaign.stop is None:
        return None
    masks: dict[Place, int] = {}
    for cell in plan.cells:
        now, most = len(cell.trials), campaign.masks_of(cell.sweep)
        known = {t: r for t in (*cell.trials, *cell.clean) if (r := result_of(t)) is not None} if now < most else {}
        wide = bool(known) and _width(campaign, campaign.stop.quantity, cell, known) > campaign.stop.width
        masks[cell.place] = next(n for n in campaign.stop.looks(most) if n > now) if wide else now
    grown = any(masks[cell.place] > len(cell.trials) for cell in plan.cells)
    return plan_campaign(campaign, masks) if grown else None


def _width(campaign: Campaign, quantity: str, cell: Cell, known: Mapping[Trial, TrialResult]) -> float:
    """Of the point's interval, from bound to bound; 0 where there is no interval."""
    point = point_of(campaign, cell, known)
    estimate = getattr(point, quantity) if point else None
    return estimate.high - estimate.low if estimate else 0.0
