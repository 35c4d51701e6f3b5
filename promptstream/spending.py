"""The requests and the answer of a turn in, what it spends out; a budget that is used up lets no further one go."""

from __future__ import annotations

from decimal import Decimal

import attrs

from promptstream.answer import Answer
from promptstream.errors import BudgetExceeded
from promptstream.values.budget import Budget, Spent
from promptstream.values.request import ChatRequest
from promptstream.values.tokens import estimate, text_tokens
from promptstream.values.usage import Usage


@attrs.define(eq=False)
class Spending:
    """Hold one turn to its conversation's budget."""

    budget: Budget
    before: Spent = attrs.field(factory=Spent)
    """What earlier turns have spent."""
    _requests: list[ChatRequest] = attrs.field(init=False, factory=list)

    def asked(self, request: ChatRequest) -> None:
        """Take note of a request of the turn, by which tokens that nobody tells are estimated."""
        if self.budget:
            self._requests.append(request)

    def check(self, answer: Answer) -> None:
        """Make sure that another request may be sent.

        Raises:
            BudgetExceeded: the budget is used up.
        """
        if self.budget and (excess := self.budget.excess(self.before + self.spent(answer))):
            raise BudgetExceeded(f"{excess}; no further request was sent.")

    def spent(self, answer: Answer) -> Spent:
        """Give what the turn has spent so far; all of it is estimated where the provider does not tell the tokens.

        Without a budget only what was told counts, for a later one.
        """
        if not self.budget:
            usage, cost = answer.told
            return Spent(usage.total or 0, cost or Decimal(0))
        if not self._requests:
            return Spent()
        usage, cost = answer.usage, answer.cost
        if usage.total is None:
            prompt = sum(estimate(request.messages, request.tools) for request in self._requests)
            usage = Usage(prompt, text_tokens(answer.text) + text_tokens(answer.reasoning))
        if cost is None and answer.pricing is not None:
            cost = answer.pricing.cost(usage, answer.model, self._requests[-1].model)
        return Spent(usage.total or 0, cost)
