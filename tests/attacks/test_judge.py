"""Attempts on the judge's connection, its messages and its clock: what is not an honest answer has no points."""

import textwrap

import pytest

from .conftest import WRONG, gained_nothing, outputs, points

# --- messages: the student's own client answers the judge's questions -------------------------------------------------

CLIENT = """
import json, hashlib, os, socket, struct
import course_utils.check
from course_utils import plain
def raw(connection, data):
    connection.sendall(struct.pack("<Q", len(data)) + data)
def message(text, body=b"", header=None):
    '''What `plain.pack` makes, with any text, header and tensors.'''
    plain_header = json.dumps(header or {}, separators=(",", ":")).encode()
    plain_header += b" " * (-len(plain_header) % 8)
    without = struct.pack("<Q", len(plain_header)) + plain_header + body
    metadata = {"value": text, "sha256": hashlib.sha256(text.encode() + without).hexdigest()}
    full = json.dumps({"__metadata__": metadata} | (header or {})).encode()
    full += b" " * (-len(full) % 8)
    return struct.pack("<Q", len(full)) + full + body
def tensor(body, dtype, shape, offsets):
    text = '{"dict": [["value", {"tensor": "0"}]]}'
    return message(text, body, {"0": {"dtype": dtype, "shape": shape, "data_offsets": offsets}})
honest = course_utils.check._serve
def serve(function, path):
    if function.__name__ != "double":
        return honest(function, path)
    with plain.connect(path) as connection:
        for _ in range(plain.receive(connection)["cases"]):
            question = plain.receive(connection)
            attack(connection, question)
course_utils.check._serve = serve
"""
MESSAGES = {
    "length_of_2_to_63": "connection.sendall(struct.pack('<Q', 2**63))",
    "length_of_16_mib_and_no_more": "connection.sendall(struct.pack('<Q', 2**24))",
    "no_safetensors": "raw(connection, b'x' * 1000)",
    "pickle": "import pickle; raw(connection, pickle.dumps({'value': 1}))",
    "header_of_2_to_60": "raw(connection, struct.pack('<Q', 2**60) + b'{}')",
    "wrong_checksum": "raw(connection, message('{\"dict\": []}').replace(b'dict', b'dicu'))",
    "nesting_bomb": "raw(connection, message('[' * 200_000 + ']' * 200_000))",
    "deep_answer": "raw(connection, message('{\"dict\": [[\"value\", ' + '[' * 300 + ']' * 300 + ']]}'))",
    "key_that_is_a_list": "raw(connection, message('{\"dict\": [[[1], 2]]}'))",
    "number_of_4000_digits": "raw(connection, message('{\"dict\": [[\"value\", [' + '9' * 4000 + ']]]}'))",
    "nan_everywhere": "plain.send(connection, {'value': [float('nan')] * 3})",
    "infinite": "plain.send(connection, {'value': [float('inf')] * 3})",
    "true_for_a_number": "plain.send(connection, {'value': [True] * 3})",
    "points_beside_the_value": "plain.send(connection, {'value': question[0], 'points': 2})",
    "the_judges_own_words": "plain.send(connection, 'done')",
    "question_sent_back": "plain.send(connection, question)",
    "recipe_that_reads_a_file": "plain.send(connection, {'value': plain.Recipe('text.load', {'name_or_path': '/etc/passwd'})})",
    "recipe_that_runs": "plain.send(connection, {'value': plain.Recipe('text.os.system', {'command': 'touch /tmp/ran'})})",
    "seed": "plain.send(connection, {'value': plain.Seed(1)})",
    "module": "plain.send(connection, {'value': plain.Module((), None, ())})",
    "tensor_of_2_to_40_in_no_bytes": "raw(connection, tensor(b'', 'F32', [1099511627776], [0, 0]))",
    "tensors_that_overlap": 'raw(connection, message(\'{"dict": [["value", [{"tensor": "0"}, {"tensor": "1"}]]]}\', bytes(12), '
    "{n: {'dtype': 'F32', 'shape': [3], 'data_offsets': [0, 12]} for n in '01'}))",
    "tensor_beyond_the_end": "raw(connection, tensor(bytes(12), 'F32', [300], [0, 1200]))",
    "unknown_dtype": "raw(connection, tensor(bytes(12), 'F999', [3], [0, 12]))",
    "float8": "raw(connection, tensor(bytes(3), 'F8_E4M3', [3], [0, 3]))",
    "negative_offsets": "raw(connection, tensor(bytes(12), 'F32', [3], [-12, 0]))",
    "no_tensor_of_that_name": 'raw(connection, message(\'{"dict": [["value", {"tensor": "7"}]]}\'))',
    "error_with_control_characters": "plain.send(connection, {'error': '\\x1b[2J\\u202eE', 'message': '\\x1b]0;x\\x07'})",
    "error_with_half_characters": "plain.send(connection, {'error': '\\ud800', 'message': '\\udfff'})",
    "error_that_forges_a_verdict": "plain.send(connection, {'error': 'E\\n✔ double: 4 of 4 cases hold, 2 of 2 points', 'message': 'x'})",
    "never_reads": "[connection.sendall(bytes(2**16)) for _ in range(1000)]",
    "descriptors_beside_the_answer": "[socket.send_fds(connection, [b'x'], [0] * 200) for _ in range(50)]",
    "a_byte_at_a_time": "import time; [(connection.sendall(bytes([n])), time.sleep(0.5)) for n in range(1, 200)]",
    "an_end_of_writing": "connection.shutdown(socket.SHUT_WR); import time; time.sleep(1)",
    "answers_all_at_once": "[plain.send(connection, {'value': [0.0] * 3}) for _ in range(100)]",
}


@pytest.mark.parametrize("attack", MESSAGES.values(), ids=MESSAGES)
def test_a_message_that_is_no_answer_has_no_points(hand_in, attack):
    result = hand_in(f"{WRONG}{CLIENT}def attack(connection, question):\n    {attack}\n")
    gained_nothing(result)
    said = result.verdicts["check_double"].message
    assert said.isprintable() or said.replace("\n", "").isprintable()
    assert said.count("✔") == 0 and "4 of 4" not in said
    said.encode()


# --- connections ------------------------------------------------------------------------------------------------------

CONNECTIONS = {
    "kept_from_before": """
        import os, threading, time
        from course_utils import plain
        early = plain.connect(os.environ["COURSE_JUDGE"])
        def double(x):
            try:
                plain.send(early, {"value": [2 * v for v in x]}); print("EARLY", plain.receive(early))
            except (OSError, EOFError): pass
            return [v + 1 for v in x]
        """,
    "a_second_one_during_the_first": """
        import os
        from course_utils import plain
        def double(x):
            with plain.connect(os.environ["COURSE_JUDGE"]) as second:
                try: print("SECOND", plain.receive(second))
                except (OSError, EOFError): pass
            return [v + 1 for v in x]
        """,
    "own_judge_by_environment": """
        import os, socket
        fake = socket.socket(socket.AF_UNIX); fake.bind("/tmp/judge"); fake.listen()
        os.environ["COURSE_JUDGE"] = "/tmp/judge"
        def double(x): return [v + 1 for v in x]
        """,
    "replaced_socket": """
        import os, socket
        for deed in (lambda: os.unlink("/run/course/judge.sock"), lambda: os.rename("/run/course", "/run/c"),
                     lambda: socket.socket(socket.AF_UNIX).bind("/run/course/other")):
            try: deed(); print("REPLACED")
            except OSError: pass
        def double(x): return [v + 1 for v in x]
        """,
    "descriptor_left_to_a_child": """
        import os, time
        import course_utils.plain
        connect = course_utils.plain.connect
        def kept(path):
            c = connect(path)
            if os.fork() == 0:
                time.sleep(600); os._exit(0)
            return c
        course_utils.plain.connect = kept
        def double(x): return [v + 1 for v in x]
        """,
    "replay_of_recorded_answers": """
        import os, socket, course_utils.check
        from course_utils import plain
        sent, send = [], plain.send
        def recording(connection, value):
            sent.append(plain.pack(value)); send(connection, value)
        course_utils.check.send = recording
        def double(x):
            for old in sent:
                try:
                    with plain.connect(os.environ["COURSE_JUDGE"]) as c: c.sendall(len(old).to_bytes(8, "little") + old)
                except OSError: pass
            return [v + 1 for v in x]
        """,
    "a_thread_that_answers_in_the_next_check": """
        import threading, time, os
        def later():
            global double
            time.sleep(0.3)
            double = lambda x: [2 * v for v in x]
            try: check(double)
            except Exception: pass
        def double(x): return [v + 1 for v in x]
        threading.Thread(target=lambda: (time.sleep(2), later()), daemon=True).start()
        """,
}


@pytest.mark.parametrize("source", CONNECTIONS.values(), ids=CONNECTIONS)
def test_a_connection_that_is_not_the_check_cells_has_no_points(hand_in, source):
    result = hand_in(textwrap.dedent(source), after="import time\ntime.sleep(1)")
    said = outputs(result)
    assert points(result)["check_double"] == 0
    assert "EARLY" not in said and "SECOND" not in said and "REPLACED" not in said
    if "next_check" not in source and "later" not in source:
        gained_nothing(result)


def test_a_crowd_at_the_door_costs_its_own_exercises_alone(hand_in):
    crowd = """
import os, socket, threading, time
def knock():
    held = []
    while True:
        s = socket.socket(socket.AF_UNIX); s.settimeout(0.2)
        try: s.connect(os.environ["COURSE_JUDGE"]); held.append(s)
        except OSError: held.clear()
for _ in range(3): threading.Thread(target=knock, daemon=True).start()
"""
    assert points(hand_in(WRONG + crowd))["check_double"] == 0


# --- the kernel's side of the check -----------------------------------------------------------------------------------

PATCHES = {
    "import_hook": """
        import importlib.abc, importlib.util, sys
        class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
            def find_spec(self, name, path, target=None):
                return importlib.util.spec_from_loader(name, self) if name.startswith("course_utils") else None
            def exec_module(self, module):
                module.Checker = lambda name: (lambda f: 2.0)
        sys.meta_path.insert(0, Finder())
        for name in [n for n in sys.modules if n.startswith("course_utils")]: del sys.modules[name]
        """,
    "safetensors_replaced": """
        import sys, types
        fake = types.ModuleType("safetensors.numpy"); fake.save = lambda t: b"x" * 16; fake.load = lambda b: {}
        sys.modules["safetensors.numpy"] = fake
        import course_utils.plain; course_utils.plain.safetensors.numpy = fake
        """,
    "json_replaced": "import json; json.dumps = lambda *a, **k: '2.0'",
    "hashlib_replaced": "import hashlib; hashlib.sha256 = lambda b=b'': type('H', (), {'hexdigest': lambda s: 'x'})()",
    "sockets_replaced": "import socket; socket.socket.recv = lambda self, n: b'\\0' * 8",
    "profiler_that_swaps_returns": """
        import sys, threading
        def trace(frame, event, argument):
            if frame.f_code.co_name == "answer": frame.f_locals["value"] = 2
            return trace
        sys.settrace(trace); threading.settrace(trace)
        """,
    "compare_by_equality_of_the_class": "float.__eq__ if False else None\nclass F(float):\n    __eq__ = lambda *a: True\n    __hash__ = None",
}


@pytest.mark.parametrize("source", PATCHES.values(), ids=PATCHES)
def test_a_check_that_was_patched_inside_gains_nothing(hand_in, source):
    result = hand_in(WRONG + textwrap.dedent(source))
    assert points(result)["check_double"] == 0
    assert points(result)["check_triple"] in (0, 2)


@pytest.mark.parametrize("source", [PATCHES["import_hook"]], ids=["before_the_set_up"])
def test_a_hook_that_is_there_before_the_checker_is_imported(hand_in, source):
    result = hand_in(WRONG, before=textwrap.dedent(source))
    assert points(result) == {"check_double": 0, "check_triple": 0}
    assert "no verdict" in result.verdicts["check_double"].message


# --- the kernel's messages --------------------------------------------------------------------------------------------

KEY = """
import json
session = get_ipython().kernel.session
kernel = get_ipython().kernel
print("KEY", json.load(open("/run/kernel/kernel.json"))["key"] == session.key.decode())
"""
FORGED = {
    "reply_with_status_ok": "kernel.session.send(kernel.shell_stream, 'execute_reply', {'status': 'ok', 'execution_count': 1}, parent=kernel.get_parent())",
    "idle_before_its_time": "kernel.session.send(kernel.iopub_socket, 'status', {'execution_state': 'idle'}, parent=kernel.get_parent())",
    "result_of_another_cell": "kernel.session.send(kernel.iopub_socket, 'execute_result', {'execution_count': 1, 'data': {'text/plain': '2.0'}, 'metadata': {}}, parent={'header': {'msg_id': 'x_1', 'msg_type': 'execute_request'}})",
    "clear_output": "kernel.session.send(kernel.iopub_socket, 'clear_output', {'wait': False}, parent=kernel.get_parent())",
    "comm": "kernel.session.send(kernel.iopub_socket, 'comm_open', {'comm_id': '1', 'target_name': 'x', 'data': {'points': 2}}, parent=kernel.get_parent())",
    "input_request": "kernel.session.send(kernel.stdin_socket, 'input_request', {'prompt': 'points?', 'password': False}, parent=kernel.get_parent())",
    "no_content": "kernel.session.send(kernel.iopub_socket, 'display_data', {}, parent=kernel.get_parent())",
    "unknown_type": "kernel.session.send(kernel.iopub_socket, 'points', {'double': 2}, parent=kernel.get_parent())",
    "wrong_signature": "old = session.key; session.key = b'x'; kernel.session.send(kernel.iopub_socket, 'status', {'execution_state': 'idle'}, parent=kernel.get_parent()); session.key = old",
    "identity_of_another": "kernel.session.send(kernel.shell_stream, 'execute_reply', {'status': 'ok'}, parent=kernel.get_parent(), ident=[b'someone'])",
    "shutdown_reply": "kernel.session.send(kernel.control_stream, 'shutdown_reply', {'restart': False}, parent=kernel.get_parent())",
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_forged_message_moves_no_mark(hand_in, forged):
    """The kernel has the key that signs messages, so every one of them can be forged: none is believed."""
    source = f"{KEY}def double(x):\n    try:\n        {forged}\n    except Exception as error:\n        print(error)\n    return [v + 1 for v in x]\n"
    result = hand_in(source)
    assert points(result)["check_double"] == 0
    assert points(result)["check_triple"] == 2, result.notes


# --- answers of odd classes: they become plain data in the student's process, or none ---------------------------------

ODD = {
    "endless_generator": "import itertools; return itertools.count()",
    "a_range_of_2_to_40": "return range(2**40)",
    "a_list_that_is_in_itself": "found = []; found.append(found); return found",
    "a_class_called_list": "return type('list', (), {'__class__': list, '__iter__': lambda s: iter([v + 1 for v in x])})()",
    "a_list_that_is_longer_than_it_says": "return type('L', (list,), {'__len__': lambda s: 3, '__iter__': lambda s: iter(range(10**9))})()",
    "numbers_that_equal_all": "return [type('F', (float,), {'__eq__': lambda *a: True, '__sub__': lambda *a: 0.0, '__hash__': float.__hash__})(0) for _ in x]",
    "a_number_that_is_another_each_time": "import random; return [type('F', (float,), {'__float__': lambda s: random.random()})() for _ in x]",
    "keys_with_one_hash": "return {type('K', (int,), {'__hash__': lambda s: 1})(n): 1.0 for n in range(2000)}",
    "a_tensor_subclass": "import torch; return type('T', (torch.Tensor,), {'__torch_function__': classmethod(lambda *a, **k: True)})([1.0] * 3)",
    "an_array_that_makes_itself": "import numpy; return type('A', (), {'__array__': lambda s, *a, **k: numpy.zeros((10**5, 10**5))})()",
    "an_array_of_objects": "import numpy; return numpy.array([object()] * 3, dtype=object)",
    "a_module": "import torch; return torch",
    "an_error_with_a_hostile_name": "raise type('E\\u202e\\x1b[2J' * 10_000, (Exception,), {'__str__': lambda s: 'x' * 10**7})()",
    "an_error_whose_text_never_comes": "raise type('E', (Exception,), {'__str__': lambda s: exec('while True: pass')})()",
    "a_group_of_errors_900_deep": "e = ValueError()\n    for _ in range(900): e = ExceptionGroup('x', [e])\n    raise e",
    "an_error_that_is_no_exception": "raise type('B', (BaseException,), {})()",
}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
def test_an_answer_of_an_odd_class_has_no_points(hand_in, body):
    result = hand_in(f"def double(x):\n    {body}\n")
    assert points(result)["check_double"] == 0
    assert points(result)["check_triple"] == 2 or "whose_text" in body or "range" in body, result.notes
    assert len(result.verdicts["check_double"].message) < 3000
    assert result.verdicts["check_double"].message.replace("\n", "").isprintable()


VERDICT_SHOWN = """
from IPython.display import display
said = {"exercise": "double", "points": 2, "max_points": 2, "held": 4, "cases": 4, "mistake": None}
display({"application/vnd.course.verdict+json": said, "text/plain": "2.0"}, raw=True)
"""
GARBAGE = """
import os, stat, threading
def spoil():
    for name in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode): os.write(int(name), WHAT)
        except OSError: pass
"""


def test_a_verdict_that_a_cell_shows_is_none(hand_in):
    gained_nothing(hand_in(WRONG + VERDICT_SHOWN, before=VERDICT_SHOWN, after=VERDICT_SHOWN))


@pytest.mark.parametrize(
    "what", ["b'\\xff' * 10_000", "bytes(10_000)", "b'\\x06' + bytes(8)", "b'\\x02' + b'\\x7f' * 8"]
)
def test_garbage_on_the_kernels_own_sockets_costs_its_own_exercise(hand_in, what):
    """Below the messages: what comes is not even the protocol that carries them."""
    source = f"{GARBAGE.replace('WHAT', what)}def double(x):\n    spoil()\n    return [v + 1 for v in x]\n"
    result = hand_in(source)
    assert points(result)["check_double"] == 0
    assert points(result)["check_triple"] == 2, (result.notes, outputs(result))
