"""Training texts of our own writing: attack templates in carriers, each family with look-alikes of the same words."""

from aimds.jobs.grammar.generator import Grammar
from aimds.jobs.grammar.planting import planted
from aimds.jobs.grammar.prose import ordinary
from aimds.jobs.grammar.sample import Sample

__all__ = ["Grammar", "Sample", "ordinary", "planted"]
