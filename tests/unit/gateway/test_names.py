"""What services say of a request, in the names of REST."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import Descriptor
from medforall.availability.v1 import availability_pb2
from medforall.booking.v1 import booking_pb2
from medforall.directory.v1 import directory_pb2

from gateway.transcoding.names import RestNames

LIST: Descriptor = booking_pb2.ListAppointmentsRequest.DESCRIPTOR
RULE: Descriptor = directory_pb2.CreateServiceRuleRequest.DESCRIPTOR
BATCH: Descriptor = availability_pb2.BatchSearchSlotsRequest.DESCRIPTOR
CREATE: Descriptor = booking_pb2.CreateAppointmentRequest.DESCRIPTOR


@pytest.mark.parametrize(
    ("request_type", "body", "said", "spelled"),
    [
        (LIST, "", "date_range", "dateRange"),
        (LIST, "", "dateRange", "dateRange"),
        (CREATE, "*", "room_selection_mode", "roomSelectionMode"),
        (CREATE, "*", "consistency_token", "consistencyToken"),
        (BATCH, "*", "searches[2].service_id", "searches[2].serviceId"),
        (RULE, "service_rule", "service_rule.ruleType", "ruleType"),
        (RULE, "service_rule", "rule_type", "ruleType"),
        (RULE, "service_rule", "rule_payload.min_minutes", "rulePayload.min_minutes"),
        (RULE, "service_rule", "rule_payload.provider_ids[0]", "rulePayload.provider_ids[0]"),
        (RULE, "service_rule", "idempotency_key", "idempotencyKey"),
        (LIST, "", "", ""),
    ],
)
def test_paths(request_type: Descriptor, body: str, said: str, spelled: str) -> None:
    """Fields get their JSON names, a body's fields without the body's; what free JSON holds stays as it was sent."""
    assert RestNames(request_type, body).path(said) == spelled


def test_sentences() -> None:
    """Fields in a sentence get their JSON names; other words stay, values of enums among them."""
    names = RestNames(LIST, "")
    assert names.text("does not go together with page_token") == "does not go together with pageToken"
    assert names.text("no_show is a status") == "no_show is a status"
