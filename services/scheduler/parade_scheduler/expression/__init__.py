"""Expressions: CEL over the inputs, the steps, and the item of a for-each. They compute values and change nothing."""

from parade_scheduler.expression.correlation import correlation, terms
from parade_scheduler.expression.expression import MAX_LENGTH, VARIABLES, Expression, ExpressionError
from parade_scheduler.expression.references import Path, Reference
from parade_scheduler.expression.tokens import end_of_expression

__all__ = ["MAX_LENGTH", "VARIABLES", "Expression", "ExpressionError", "Path", "Reference", "correlation", "end_of_expression", "terms"]
