"""What EventStoreDB's client for Python can do on the store's port, and what it is refused."""

import json
import unittest
import uuid

from kurrentdbclient import NewEvent, StreamState
from kurrentdbclient.exceptions import AccessDeniedError, NotFoundError, UnauthenticatedError

import hub


def submission(account, text, client="backend"):
    data = {
        "client": client,
        "idempotency_key": str(uuid.uuid4()),
        "recipient": {"account": account},
        "content": {"type": "text", "text": text},
    }
    return NewEvent(type="message.submitted.v1", data=json.dumps(data).encode())


def append(client, stream, event):
    return client.append_to_stream(stream, current_version=StreamState.ANY, events=[event])


class Store(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        hub.link("u-1001", "ada@contoso.example")
        cls.backend, cls.auditor, cls.operator = map(hub.store, ["backend", "auditor", "operator"])

    @classmethod
    def tearDownClass(cls):
        for client in (cls.backend, cls.auditor, cls.operator):
            client.close()

    def test_a_message_that_is_submitted_arrives_in_teams(self):
        append(self.backend, "intake-1", submission("u-1001", "By way of the store"))
        hub.until(lambda: any("By way of the store" in text for text in hub.texts()))

    def test_what_is_rejected_says_why_to_who_submitted_it(self):
        event = submission("u-nobody", "To nobody")
        append(self.backend, "intake-1", event)

        def answer():
            try:
                return self.backend.get_stream(f"rejection-{event.id}")
            except NotFoundError:
                return None

        (rejection,) = hub.until(answer)
        self.assertEqual(json.loads(rejection.data)["why"], "recipient_not_linked")

    def test_nobody_forges_an_event_of_the_hub_or_submits_for_another(self):
        linked = NewEvent(type="connection.linked.v1", data=b"{}")
        for client in (self.backend, self.auditor, self.operator):
            for stream in (f"connection-{uuid.uuid4()}", "intake-1"):
                with self.assertRaises(AccessDeniedError):
                    append(client, stream, linked)
        with self.assertRaises(AccessDeniedError):
            append(self.backend, "intake-1", submission("u-1001", "As somebody else", client="dev"))

    def test_an_auditor_reads_a_persons_connection_and_changes_nothing(self):
        person = next(self.auditor.read_all(filter_include=["connection-.*"], filter_by_stream_name=True)).stream_name
        names = [event.type for event in self.auditor.get_stream(person)]
        self.assertEqual(names[0], "connection.linked.v1")
        self.assertIn("connection.token-issued.v1", names)
        with self.assertRaises(AccessDeniedError):
            self.auditor.delete_stream(person, current_version=StreamState.ANY)
        with self.assertRaises(AccessDeniedError):
            self.operator.set_stream_metadata(person, metadata={"$maxCount": 1}, current_version=StreamState.ANY)

    def test_what_is_submitted_is_seen_by_no_reader(self):
        append(self.backend, "intake-2", submission("u-1001", "For the hub only"))
        with self.assertRaises(AccessDeniedError):
            self.auditor.get_stream("intake-2")
        self.assertFalse([event for event in self.auditor.read_all() if event.stream_name.startswith("intake-")])
        with self.assertRaises(AccessDeniedError):
            list(self.backend.read_all())

    def test_an_operator_keeps_streams_of_its_own(self):
        stream = f"notes-{uuid.uuid4()}"
        append(self.operator, stream, NewEvent(type="noted", data=b"{}"))
        self.operator.set_stream_metadata(stream, metadata={"$maxCount": 1}, current_version=StreamState.ANY)
        self.operator.delete_stream(stream, current_version=StreamState.ANY)
        with self.assertRaises(NotFoundError):
            self.operator.get_stream(stream)

    def test_a_wrong_password_lets_nobody_in(self):
        with hub.store("auditor", "wrong") as stranger, self.assertRaises(UnauthenticatedError):
            list(stranger.read_all())

    def test_a_subscription_brings_what_is_recorded_later(self):
        # From the end, and to the very answer: other tests' messages were accepted before, and may still be.
        event = submission("u-1001", "Followed")
        with self.auditor.subscribe_to_all(
            from_end=True, filter_include=["message-.*"], filter_by_stream_name=True, timeout=30
        ) as subscription:
            append(self.backend, "intake-3", event)
            answer = next(it for it in subscription if json.loads(it.metadata)["$causationId"] == str(event.id))
        self.assertEqual(answer.type, "message.accepted.v1")

    def test_there_are_no_persistent_subscriptions(self):
        self.assertEqual(list(self.auditor.list_subscriptions()), [])


if __name__ == "__main__":
    unittest.main()
