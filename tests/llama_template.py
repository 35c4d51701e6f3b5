"""A chat template that knows tools, and llama.cpp's server with it: the embedded model's own has no place for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptstream.providers.local import llama_server

TEMPLATE = r"""
{%- if tools %}{{- '<|im_start|>system\n' }}
{%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] + '\n\n' }}{%- endif %}
{{- '# Tools\n<tools>' }}{%- for tool in tools %}{{- '\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\n</tools>\nCall one: <tool_call>\n{\"name\": <name>, \"arguments\": <object>}\n</tool_call><|im_end|>\n' }}
{%- elif messages[0]['role'] == 'system' %}
{{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}{%- endif %}
{%- for message in messages %}
{%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
{%- elif message.role == 'assistant' %}{{- '<|im_start|>assistant' }}
{%- if message.content %}{{- '\n' + message.content }}{%- endif %}
{%- for tool_call in message.tool_calls %}
{%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
{{- '\n<tool_call>\n{\"name\": \"' }}{{- tool_call.name }}{{- '\", \"arguments\": ' }}
{{- tool_call.arguments | tojson }}{{- '}\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>\n' }}
{%- elif message.role == 'tool' %}
{{- '<|im_start|>user\n<tool_response>\n' + message.content + '\n</tool_response><|im_end|>\n' }}
{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
""".strip()
_WITH_TEMPLATE = f"""
import xllamacpp
plain = xllamacpp.Server

def templated(params):
    params.chat_template = {TEMPLATE!r}
    return plain(params)

xllamacpp.Server = templated
_serve(job)
"""


def tool_server(model: Path, *, context: int) -> tuple[str, str]:
    """Give base URL and key of a server of *model* that offers the tools of a request to it.

    *context* must be one that no other server of this process was started with.
    """
    head, _, _ = llama_server._BOOT.partition("from promptstream")
    boot = f"{head}\nfrom promptstream.providers.local.llama_server import _serve\n{_WITH_TEMPLATE}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llama_server, "_BOOT", boot)
        return llama_server.address(model, context=context)
