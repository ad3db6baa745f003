#!/usr/bin/env python3
"""Writes tests/data/chat_templates/families.json and expressions.json: what Jinja itself makes of templates in the
style of many model families, of the constructs that templates are made of, and of random small expressions. The
environment is the one in which templates are rendered elsewhere: an immutable sandbox, trim_blocks, lstrip_blocks.

Needs jinja2. Templates here are written for this test; they follow the models' documented prompt formats.
"""

import datetime
import json
import pathlib
import random

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

OUT = pathlib.Path(__file__).resolve().parents[2] / "data" / "chat_templates"
NOW = datetime.datetime(2024, 7, 26)  # as in golden_test.cc


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_keep"), [], [], body).set_lineno(line)

    def _keep(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


ENVIRONMENT = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
ENVIRONMENT.filters["tojson"] = tojson
ENVIRONMENT.globals["raise_exception"] = raise_exception
ENVIRONMENT.globals["strftime_now"] = NOW.strftime


def outcome(template, variables):
    try:
        return {"expected": ENVIRONMENT.from_string(template).render(**variables)}
    except Exception as error:  # whatever it is: the template fails
        return {"error": str(error)}


TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "The weather of a city: <now> & \"later\"",
        "parameters": {"type": "object", "properties": {
            "city": {"type": "string", "description": "Name, e.g. 北京"},
            "unit": {"type": "string", "enum": ["c", "f"]},
            "days": {"type": "array", "items": {"type": "integer"}}},
            "required": ["city"]}}},
    {"type": "function", "function": {"name": "stop", "description": "", "parameters": {"type": "object", "properties": {}}}},
]
CALL = {"role": "assistant", "content": "", "tool_calls": [
    {"id": "abcdef123", "type": "function",
     "function": {"name": "get_weather", "arguments": {"city": "北京", "days": [1, 2.5], "x": None, "deep": {"a": True}}}}]}
ANSWER = {"role": "tool", "name": "get_weather", "tool_call_id": "abcdef123", "content": "{\"temp\": 21}"}

CONVERSATIONS = [
    {"messages": [{"role": "user", "content": "Hello, who are you?"}], "add_generation_prompt": True},
    {"messages": [{"role": "system", "content": " You are terse.\n"}, {"role": "user", "content": "What is 2+2?"}],
     "add_generation_prompt": True},
    {"messages": [{"role": "user", "content": "a <b> & 'c' \"d\" {{ e }} {% f %}"},
                  {"role": "assistant", "content": "<think>\nhm\n</think>\n\n第一\n"},
                  {"role": "user", "content": "  再见 👋 "}], "add_generation_prompt": True},
    {"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}],
     "add_generation_prompt": False},
    {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Weather?"}, CALL, ANSWER,
                  {"role": "assistant", "content": "21 degrees."}, {"role": "user", "content": "Thanks"}],
     "tools": TOOLS, "add_generation_prompt": True},
    {"messages": [{"role": "user", "content": "Weather?"}, CALL, ANSWER], "tools": TOOLS, "add_generation_prompt": True,
     "enable_thinking": False},
    {"messages": [{"role": "assistant", "content": "I begin"}, {"role": "user", "content": ""}],
     "add_generation_prompt": False},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "parts"}, {"type": "text", "text": "of it"}]}],
     "add_generation_prompt": True, "documents": [{"title": "T", "text": "body"}, {"title": "U", "snippet": "s"}]},
    {"messages": [{"role": "<|bad|>", "content": None}], "add_generation_prompt": True},
    {"messages": [], "add_generation_prompt": True},
]

FAMILIES = {
    "llama-3.2": r"""{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{#- the system message, if there is one #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{%- if tools is not none %}{{- "Environment: ipython\n" }}{%- endif %}
{{- "Cutting Knowledge Date: December 2023\n" }}
{{- "Today Date: " + date_string + "\n\n" }}
{%- if tools is not none %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\n\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\n\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}
""",
    "qwen3": r"""{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\n\n' }}{%- endif %}
    {{- "# Tools\n\n<tools>" }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\n</tools><|im_end|>\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\n<think>\n' + reasoning_content.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}{{- '\n' }}{%- endif %}
                {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
                {{- '<tool_call>\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\n<tool_response>\n' }}
        {{- content }}
        {{- '\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}
""",
    "qwen2": r"""{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful assistant.<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}""",
    "mistral-v3-tools": r"""{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}{{- ", " }}{%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\n\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}
            {%- set content = message.content.content %}
        {%- else %}
            {%- set content = message.content %}
        {%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string + ", " }}
        {%- if not message.tool_call_id is defined or message.tool_call_id|length != 9 %}
            {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
        {%- endif %}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}
    {%- endif %}
{%- endfor %}
""",
    "gemma-3": r"""{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}
""",
    "phi-3": "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    "phi-4": "{% for message in messages %}{% if (message['role'] == 'system') %}{{'<|im_start|>system<|im_sep|>' + message['content'] + '<|im_end|>'}}{% elif (message['role'] == 'user') %}{{'<|im_start|>user<|im_sep|>' + message['content'] + '<|im_end|>'}}{% elif (message['role'] == 'assistant') %}{{'<|im_start|>assistant<|im_sep|>' + message['content'] + '<|im_end|>'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}",
    "glm-4": r"""[gMASK]<sop>
{%- if tools %}
{{- '<|system|>\n# 可用工具' }}
{%- for tool in tools %}
    {%- set function = tool.function if tool.get("function") else tool %}
{{- '\n\n## ' + function.name + '\n\n' + function | tojson(indent=4, ensure_ascii=False) }}
在调用上述函数时，请使用 Json 格式表示调用的参数。
{%- endfor %}
{%- endif %}
{%- for msg in messages %}
    {%- if msg.role == 'system' %}
{{- '<|system|>\n' + msg.content }}
    {%- endif %}
{%- endfor %}
{%- for message in messages if message.role != 'system' %}
    {%- set role = message['role'] %}
    {%- set content = message['content'] %}
    {%- set thought = (content.split("</think>") | first) if content is string else '' %}
    {%- set meta = message.get("metadata", "") %}
    {%- if role == 'user' %}
<|user|>
{{ content }}
    {%- elif role == 'assistant' and not meta %}
<|assistant|>
{{ content }}
    {%- elif role == 'assistant' and meta %}
<|assistant|>{{ meta }} 
{{ content }}
    {%- elif role == 'tool' %}
<|observation|>
{{ content }}
    {%- endif %}
{%- endfor %}
{% if add_generation_prompt %}<|assistant|>{% endif %}
""",
    "deepseek-r1": r"""{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='', is_first_sp=true) %}{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}{% set ns.system_prompt = ns.system_prompt + message['content'] %}{% set ns.is_first_sp = false %}{%- else %}{% set ns.system_prompt = ns.system_prompt + '\n\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<｜User｜>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and 'tool_calls' in message %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls'] %}{%- if not ns.is_first %}{%- if message['content'] is none %}{{'<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + '\n' + '```json' + '\n' + tool['function']['arguments'] | tojson + '\n' + '```' + '<｜tool▁call▁end｜>'}}{%- else %}{{'<｜Assistant｜>' + message['content'] + '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + '\n' + '```json' + '\n' + tool['function']['arguments'] | tojson + '\n' + '```' + '<｜tool▁call▁end｜>'}}{%- endif %}{%- set ns.is_first = true -%}{%- else %}{{'\n' + '<｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name']}}{%- endif %}{%- endfor %}{{'<｜tool▁calls▁end｜><｜end▁of▁sentence｜>'}}{%- endif %}{%- if message['role'] == 'assistant' and 'tool_calls' not in message %}{%- if ns.is_tool %}{{'<｜tool▁outputs▁end｜>' + message['content'] + '<｜end▁of▁sentence｜>'}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>'}}{%- set ns.is_output_first = false %}{%- else %}{{'\n<｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>'}}{%- endif %}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<｜tool▁outputs▁end｜>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜><think>\n'}}{% endif %}""",
    "command-r": r"""{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% elif false == true %}{% set loop_messages = messages %}{% set system_message = 'You are Command-R.' %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% if system_message != false %}{{ '<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>' + system_message + '<|END_OF_TURN_TOKEN|>' }}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% set content = message['content'] %}{% if message['role'] == 'user' %}{{ '<|START_OF_TURN_TOKEN|><|USER_TOKEN|>' + content.strip() + '<|END_OF_TURN_TOKEN|>' }}{% elif message['role'] == 'assistant' %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'  + content.strip() + '<|END_OF_TURN_TOKEN|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}""",
    "command-r-rag": r"""{%- macro json_to_python_type(json_spec) %}
{%- set basic_type_map = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"} %}
{%- if basic_type_map[json_spec.type] is defined %}
    {{- basic_type_map[json_spec.type] }}
{%- elif json_spec.type == "array" %}
    {{- "List[" + json_to_python_type(json_spec['items']) + "]"}}
{%- elif json_spec.type == "object" %}
    {{- "Dict" }}
{%- else %}
    {{- "Any" }}
{%- endif %}
{%- endmacro %}
{{- bos_token }}
{%- for tool in tools or [] %}
```python
def {{ tool.function.name }}(
{%- for name, spec in tool.function.parameters.properties.items() %}
{{- ", " if not loop.first }}{{ name }}: {{ json_to_python_type(spec) }}{{ " = None" if name not in (tool.function.parameters.required or []) }}
{%- endfor %}) -> List[Dict]:
    """ + '"""' + r"""{{ tool.function.description | default("none", true) }}
    """ + '"""' + r"""
    pass
```
{% endfor %}
{%- for document in documents %}
{{ loop.index0 }}. {% for key, value in document|items %}
{{ key|title }}: {{ value }}
{% endfor %}
{% endfor %}
{{- messages[-1].content if messages else 'nobody spoke' -}}
""",
    "zephyr-loop": "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    "falcon": "{% for message in messages %}{% if not loop.first %}{{ '\n' }}{% endif %}{% if message['role'] == 'system' %}{{ 'System: ' + message['content'].strip() }}{% elif message['role'] == 'user' %}{{ 'User: ' + message['content'].strip().replace('\\r\\n', '\\n').replace('\\n\\n', '\\n') }}{% elif message['role'] == 'assistant' %}{{ 'Falcon: ' + message['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '\nFalcon:' }}{% endif %}",
    "internlm2": "{{ bos_token }}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "granite-3": r"""{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set system_message = "Knowledge Cutoff Date: April 2024.\nToday's Date: " + strftime_now('%B %d, %Y') + ".\nYou are Granite." %}
    {%- if tools and documents %}
        {%- set system_message = system_message + " Use the tools and documents." %}
    {%- elif documents %}
        {%- set system_message = system_message + " Use the documents." %}
    {%- endif %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- '<|start_of_role|>system<|end_of_role|>' + system_message + '<|end_of_text|>\n' }}
{%- if tools %}
    {{- '<|start_of_role|>tools<|end_of_role|>' }}
    {{- tools | tojson(indent=4) }}
    {{- '<|end_of_text|>\n' }}
{%- endif %}
{%- if documents %}
    {{- '<|start_of_role|>documents<|end_of_role|>' }}
    {%- for document in documents %}
        {{- 'Document ' + loop.index0 | string + '\n' }}
        {{- document['text'] }}
        {%- if not loop.last %}{{- '\n\n'}}{%- endif %}
    {%- endfor %}
    {{- '<|end_of_text|>\n' }}
{%- endif %}
{%- for message in loop_messages %}
    {{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + message['content'] + '<|end_of_text|>\n' }}
    {%- if loop.last and add_generation_prompt %}
        {{- '<|start_of_role|>assistant' }}
            {%- if controls %}{{- ' ' + controls | tojson() }}{%- endif %}
        {{- '<|end_of_role|>' }}
    {%- endif %}
{%- endfor %}
""",
    "hermes-tools": r"""{%- macro describe(schema, depth=0) -%}
{%- if schema is mapping -%}
{%- for key, value in schema | dictsort %}
{{ '  ' * depth }}- {{ key }}: {{ describe(value, depth + 1) if value is mapping else value | tojson }}
{%- endfor -%}
{%- else -%}{{ schema }}{%- endif -%}
{%- endmacro -%}
{{ bos_token }}{% if tools %}{% for tool in tools %}{{ describe(tool.function) }}
{% endfor %}{% endif %}
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{% generation %}{{ message.content if message.content is string else message.content | map(attribute='text') | join('\n') }}{% endgeneration %}<|im_end|>
{% endfor -%}
""",
    "smollm": "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "vicuna": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'].strip() + ' ' %}{% else %}{% set loop_messages = messages %}{% set system_message = 'A chat between a curious user and an assistant. ' %}{% endif %}{{ system_message }}{% for m in loop_messages %}{{ {'user': 'USER: ', 'assistant': 'ASSISTANT: '}[m.role] ~ m.content.strip() ~ (eos_token if m.role == 'assistant' else ' ') }}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}",
}

PLAIN = {"x": 5, "y": -2.5, "s": "héllo Wörld", "e": "", "n": None, "t": True, "xs": [3, 1, 2], "d": {"b": 1, "a": "two", "c": [1]},
         "ps": [{"k": "b", "v": 2}, {"k": "A", "v": 1}, {"k": "c", "v": 2, "w": {"z": 9}}]}

# Whole templates, one a line, for what is easy to get wrong: white space, scopes, macros, loops. ⏎ is a line end.
CONSTRUCTS = r"""
a  {%- if t %}  b  {% endif -%}  c
  {% if t %}⏎  x⏎  {% endif %}⏎ y
  {%+ if t %}⏎  x⏎  {%- endif +%}⏎ y
{# a comment #}⏎x{#- b -#} ⏎ y {# c #}
  {# indented #}  ⏎x
a⏎⏎  {{- x }}  ⏎{{ x -}}  ⏎ b
{% raw %}{{ x }}{% if %}{% endraw %}⏎z
  {%- raw -%}  {{ x }} {%- endraw -%}  z
{{ '}}' }}{{ "%}" }}{{ {'a': {'b': 1}}['a']['b'] }}
{{ 'a\tb\nc\\d\'e\x41\u00e9\101\q' }}
{{ 'one' 'two' "three" }}
{% for i in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a', 'b') }}{{ loop.depth }}{{ loop.changed(i > 1) }};{% endfor %}
{% for i in xs if i > 1 %}{{ i }}/{{ loop.length }},{% else %}none{% endfor %}
{% for i in xs if i > 9 %}{{ i }}{% else %}none{{ x }}{% endfor %}
{% for i in xs %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% if loop.index == 2 %}{% break %}{% endif %}{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}
{% for a, b in [(1, 2), (3, 4)] %}{{ a + b }} {% endfor %}
{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}
{% for c in s %}{{ c }}.{% endfor %}
{% for c in n %}{{ c }}{% endfor %}
{% for c in missing %}{{ c }}{% endfor %}ok
{% for p in ps recursive %}{{ p.k }}{% if p.w %}({{ loop([p.w]) }}){% endif %}{{ loop.depth }}{% endfor %}
{% set x = 1 %}{% for i in xs %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}
{% set ns = namespace(v=1, w='a') %}{% for i in xs %}{% set ns.v = ns.v + i %}{% endfor %}{{ ns.v }}{{ ns.w }}{{ ns.q }}
{% set d.q = 1 %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set a = (3,) %}{{ a }}
{% set block %}  text {{ x }} {% endset %}[{{ block }}]
{% set block | trim | upper %}  text {{ x }} {% endset %}[{{ block }}]
{% set block %}{% set inner = 1 %}{% endset %}{{ inner }}
{% filter upper | replace('X', 'y') %}axb {{ s }}{% endfilter %}
{% with a = 1, b = x %}{{ a }}{{ b }}{% set c = 2 %}{{ c }}{% endwith %}{{ a }}{{ c }}
{% with x = 1, y = x %}{{ x }}{{ y }}{% endwith %}
{% macro m(a, b=2, c=a) %}[{{ a }},{{ b }},{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, c=5) }}{{ m() }}{{ m(b=1, a=0) }}
{% macro m(a) %}{{ a }}{{ x }}{% endmacro %}{% set x = 7 %}{{ m('q') }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}
{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, z=3) }}
{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}in {{ x }}{% endcall %}
{% macro m() %}<{{ caller(1) }}>{% endmacro %}{% call(v) m() %}in {{ v }}{% endcall %}
{% macro fact(k) %}{{ 1 if k < 2 else k * fact(k - 1) | int }}{% endmacro %}{{ fact(5) }}
{% macro m() %}{% for i in xs %}{{ i }}{{ loop.index }}{% endfor %}{% endmacro %}{% for i in xs %}{{ m() }}{{ loop.index }}{% endfor %}
{% for i in xs %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}
{% if x is defined and y is not defined %}a{% elif x %}b{% else %}c{% endif %}
{% if e or n or missing %}a{% else %}b{% endif %}
{% if xs | selectattr('q', 'defined') %}generator{% else %}no{% endif %}
{% if ps | selectattr('q', 'defined') | list %}yes{% else %}no{% endif %}
{{ missing }}|{{ missing.x }}
{{ missing | default('d') }}{{ n | default('d') }}{{ n | default('d', true) }}{{ e | d('z', boolean=True) }}
{{ d.missing }}|{{ d.missing.x }}
{{ d.items is callable }}
{{ n.x }}|{{ x.y }}|{{ s.y }}
{{ d['keys'] is defined }}{{ d.get('a') }}{{ d.get('zz') }}{{ d.get('zz', 1) }}
{{ xs.append(1) }}
{% set _ = d.update({'q': 1}) %}{{ d }}
{{ x if t }}|{{ x if n }}|{{ (x if n) is defined }}
{{ x }}{{ y }}{{ s }}{{ e }}{{ n }}{{ t }}{{ xs }}{{ d }}{{ ps }}
{{ 1, 2 }}{{ (1,) }}{{ () }}{{ [] }}{{ {} }}
{{ d | tojson }}{{ d | tojson(indent=2) }}{{ [] | tojson(indent=2) }}{{ {'a': {}} | tojson(indent=1) }}
{{ ['é', '"\\/\n\t\x01', 1.0, 1e20, true, none, (1, 2)] | tojson }}{{ 'é👋' | tojson(ensure_ascii=True) }}
{{ d | tojson(sort_keys=True, separators=(',', ':')) }}
{{ missing | tojson }}
{{ raise_exception('stop ' ~ x) }}
{{ strftime_now('%Y-%m-%d %d %b %Y %B') }}
{{ range(3) | list }}{{ range(5, 1, -2) | list }}{{ dict(a=1, b='c') }}{{ dict([('k', 1)]) }}
{{ x is divisibleby 5 }}{{ x is odd }}{{ x is even }}{{ x is eq 5 }}{{ x is sameas 5 }}{{ x is in [5] }}{{ x is not in [5] }}{{ x is gt 4 }}
{{ not x is defined }}{{ x is defined | string }}
{{ s is string }}{{ s is sequence }}{{ s is iterable }}{{ d is mapping }}{{ d is sequence }}{{ x is number }}{{ t is number }}{{ t is boolean }}{{ t is integer }}{{ y is float }}{{ n is none }}{{ missing is undefined }}{{ missing is iterable }}{{ missing is none }}
{{ t is true }}{{ t is false }}{{ 1 is true }}{{ s is lower }}{{ 'ab' is lower }}{{ 'AB' is upper }}{{ range is callable }}{{ s is callable }}
{% include 'other' %}
{% if x %}
{{ x
{% frobnicate %}
{{ x | frobnicate }}
{{ x is frobnicate }}
{% if t %}{% else %}{% else %}{% endif %}
{% break %}
{{ }}
{{ 1 + }}
{{ f(a=1, 2) }}
{% set true = 1 %}
{{ 'abc }}
{{ "%s is %d or %.2f and %5s|%-5s|%05d %r %%" % ('a', 3, 2.5, 'b', 'c', 42, 'q') }}{{ '%s' % x }}{{ '%s %s' % (1,) }}
{{ "{} {1} {0}".format(1, 2) }}
{{ "{} {} {{}} {a:>5}|{b:<5}|{c:^5}|{f:.2f}|{i:05d}|{i:,}".format(1, 'z', a='p', b='q', c='r', f=2.5, i=1234567) }}
{{ 'a-b' | title }}{{ 'a-b'.title() }}{{ 'hELLO wORLD' | capitalize }}
{{ 'l1\n\nl2' | indent(2) }}{{ 'l1\nl2' | indent(2, true) }}{{ 'a\n\nb' | indent('>', blank=true) }}
{{ xs | sort }}{{ xs | sort(reverse=true) }}{{ ps | sort(attribute='k') | map(attribute='k') | list }}{{ ['b', 'A', 'c'] | sort }}{{ ['b', 'A'] | sort(case_sensitive=true) }}
{{ xs | first }}{{ xs | last }}{{ [] | first }}{{ s | first }}{{ s | last }}{{ xs | min }}{{ xs | max }}{{ xs | sum }}{{ ps | sum(attribute='v') }}{{ xs | length }}{{ s | count }}{{ d | length }}
{{ xs | reverse | list }}{{ 'abc' | reverse }}{{ ['a', 'A', 'b'] | unique | list }}{{ d | dictsort }}{{ d | list }}{{ 'ab' | list }}{{ d | items | list }}
{{ xs | join(', ') }}{{ ps | join('-', attribute='k') }}{{ [1, none, 'x', missing] | join('|') }}
{{ xs | map('string') | list }}{{ xs | select('odd') | list }}{{ xs | reject('gt', 1) | list }}{{ ps | selectattr('v', 'eq', 2) | map(attribute='k') | join }}{{ ps | rejectattr('w') | list | length }}{{ ps | map(attribute='w.z', default=0) | list }}
{{ xs | select | list }}{{ xs | map('frobnicate') | list }}
{{ xs | groupby('v') }}
{% for v, group in ps | groupby('v') %}{{ v }}:{{ group | map(attribute='k') | join }};{% endfor %}
{{ xs | batch(2) | list }}{{ xs | batch(2, 0) | list }}
{{ '3' | int }}{{ 'x' | int }}{{ 'x' | int(7) }}{{ '2.9' | int }}{{ 2.9 | int }}{{ 'ff' | int(base=16) }}{{ '1.5' | float }}{{ 'q' | float }}{{ t | int }}{{ n | int }}
{{ 2.5 | round }}{{ 3.5 | round }}{{ 2.567 | round(2) }}{{ 2.1 | round(method='ceil') }}{{ 5 | round }}{{ -3 | abs }}{{ (-3) | abs }}
{{ '  a ' | trim }}|{{ 'xxaxx' | trim('x') }}|{{ x | trim }}|{{ n | trim }}|{{ missing | trim }}|{{ s | upper }}|{{ s | lower }}
{{ '<a href="x">&\'' | e }}{{ '<b>' | safe }}{{ 'a b c' | wordcount }}{{ 'foo bar baz' | truncate(9, leeway=0) }}{{ 'foo bar baz' | truncate(9, true, leeway=0) }}{{ 'x' | center(5) }}|{{ '%s-%s' | format(1, 2) }}
{{ 'aXbXc'.split('X') }}{{ ' a  b '.split() }}{{ 'a b c'.split(' ', 1) }}{{ 'a b c'.rsplit(' ', 1) }}{{ 'a b c'.rsplit(None, 1) }}{{ ''.split('x') }}{{ ''.split() }}{{ 'a\nb\r\nc\n'.splitlines() }}{{ 'abc'.split('') }}
{{ '--a-'.strip('-') }}{{ '--a-'.lstrip('-') }}{{ '--a-'.rstrip('-') }}{{ '\u3000 a\xa0'.strip() }}|{{ 'abc'.strip('ca') }}
{{ 'abc'.startswith('ab') }}{{ 'abc'.startswith(('x', 'a')) }}{{ 'abc'.endswith('c') }}{{ 'abc'.startswith('b', 1) }}{{ 'abc'.find('c') }}{{ 'abc'.find('z') }}{{ 'héllo'.find('l') }}{{ 'abab'.rfind('b') }}{{ 'abab'.count('ab') }}{{ 'abc'.index('z') }}
{{ 'aaa'.replace('a', 'b', 2) }}{{ 'abc'.replace('', '-') }}{{ 'abc' | replace('b', 'x') }}{{ 'a.b'.partition('.') }}{{ 'ab'.partition('.') }}{{ 'a.b.c'.rpartition('.') }}{{ '-'.join(['a', 'b']) }}{{ '-'.join([1]) }}
{{ '12'.isdigit() }}{{ 'a1'.isalnum() }}{{ 'ab'.isalpha() }}{{ ' '.isspace() }}{{ ''.isspace() }}{{ 'Ab'.isupper() }}{{ '7'.zfill(3) }}{{ '-7'.zfill(4) }}{{ 'a'.ljust(3) }}|{{ 'a'.rjust(3, '*') }}{{ 'ab'.center(5, '*') }}{{ 'prefix-a'.removeprefix('prefix-') }}{{ 'a.txt'.removesuffix('.txt') }}
{{ s[0] }}{{ s[-1] }}{{ s[1:3] }}{{ s[::-1] }}{{ s[99] }}{{ s[-3:] }}{{ s[:99] }}{{ xs[::2] }}{{ xs[5:1] }}{{ xs[-2:] }}{{ xs[2:0:-1] }}{{ xs[9] }}|{{ xs[-1] }}{{ xs['a'] }}{{ (1, 2, 3)[1:] }}{{ xs[::0] }}
{{ 7 // 2 }}{{ -7 // 2 }}{{ 7 % 3 }}{{ -7 % 3 }}{{ 7 / 2 }}{{ 2 ** 3 ** 2 }}{{ -2 ** 2 }}{{ 2 ** -1 }}{{ 7.5 // 2 }}{{ -7.5 % 2 }}{{ 1e3 }}{{ 1_000 }}{{ 10 ** 18 }}{{ 1 / 0 }}
{{ 1e16 }}{{ 1e15 }}{{ 0.0001 }}{{ 0.00001 }}{{ 1.5e-7 }}{{ 123456789.125 }}{{ 1 / 3 }}{{ 2.0 }}{{ -0.0 }}{{ 100000000000000000.0 }}
{{ 'a' * 3 }}{{ 3 * 'a' }}{{ [1] * 2 }}{{ 'a' * -1 }}{{ 'a' + 1 }}
{{ 'a' + 'b' ~ 1 + 2 ~ none }}{{ 1 ~ 2 }}{{ 1 + 2 ~ 3 * 4 }}{{ 'a' ~ 'b' | upper }}
{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }}{{ 'a' < 'b' }}{{ [1, 2] < [1, 3] }}{{ 1 == 1.0 }}{{ 1 == true }}{{ '1' == 1 }}{{ n == missing }}{{ missing == other }}{{ none == false }}{{ 1 < 'a' }}
{{ 'a' in 'abc' }}{{ 'z' not in 'abc' }}{{ 2 in xs }}{{ 'a' in d }}{{ 'q' in missing }}{{ 1 in 'abc' }}
{{ not t or t and not e }}{{ e or 'x' }}{{ t and 5 }}{{ n and x }}{{ 1 if t else 2 if e else 3 }}{{ not x == 5 }}
{{ {'a': 1, 'a': 2, 1: 'x', 'n': none} }}{{ {1: 2}[1] }}{{ {'a': 1}.a }}{{ {'x': [1, {'y': "it's"}]} }}{{ ['a"b', "a'b", 'a\'b"c', 'a\\b', '\x07', 'é'] }}
{{ namespace(a=1).a }}{{ loop is defined }}{{ caller is defined }}
{{ (d | tojson)[0] }}{{ d.a[0] }}{{ ps[0].k }}{{ ps[0]['k'] }}{{ ps.0.k }}{{ ps | map('attr', 'k') | list }}
{{ dict(a=1) | length }}{{ dict(d, z=1) }}{{ range(*[1, 3]) | list }}{{ dict(**{'a': 1}) }}
{{ s | default | upper }}{{ (s | length) > 3 }}{{ s|length > 3 }}{{ -x | abs }}{{ not missing }}
{%- for p in ps -%} {{ p.k }} {%- if not loop.last -%} , {%- endif -%} {%- endfor -%}
{% if x %}{% set z = 1 %}{% endif %}{{ z }}{% if n %}{% set w = 1 %}{% endif %}{{ w }}
{% generation %}g{{ x }}{% endgeneration %}{% for i in xs %}{% generation %}{{ i }}{% endgeneration %}{% endfor %}
"""


def constructs():
    for line in CONSTRUCTS.strip("\n").split("\n"):
        template = line.replace("⏎", "\n")
        yield template
        if "error" in outcome(template, PLAIN):  # the other expressions in it count too
            yield from (part.removeprefix("{{").removesuffix("}}").join(("{{", "}}")) for part in template.split("}}{{"))


class Expressions:
    """Random small expressions, most of which have a value."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def any(self, depth):
        kinds = [self.number, self.text, self.sequence, self.condition]
        return self.random.choice(kinds)(depth)

    def pick(self, *options):
        return self.random.choice(options)

    def number(self, depth):
        if depth == 0:
            return self.pick("x", "y", "0", "1", "-3", "2.5", "xs[0]", "xs[-1]", "ps[1].v", "d.b", "100", "true")
        a, b = self.number(depth - 1), self.number(depth - 1)
        return self.pick(
            f"{a} {self.pick('+', '-', '*', '/', '//', '%')} {b}", f"({a} {self.pick('+', '-', '*')} {b})", f"-{a}",
            f"{self.text(depth - 1)} | length", f"{self.sequence(depth - 1)} | length", f"({a}) | int", f"({a}) | abs",
            f"({a}) | round({self.pick('', '1', '2')})", f"{self.sequence(depth - 1)} | sum", f"({a}) | float",
            f"{self.text(depth - 1)} | int", f"{a} if {self.condition(depth - 1)} else {b}",
            f"{self.text(depth - 1)}.find({self.text(depth - 1)})", f"{self.sequence(depth - 1)} | {self.pick('max', 'min', 'first', 'last')}")

    def text(self, depth):
        if depth == 0:
            return self.pick("s", "e", "'a'", "'Ab c'", "' p '", '"x\ny"', "d.a", "ps[0].k", "'é-b_c'", "'12'", "missing")
        a, b = self.text(depth - 1), self.text(depth - 1)
        return self.pick(
            f"{a} + {b}", f"{a} ~ {self.any(depth - 1)}", f"({a} ~ {b})", f"({a})[{self.bound()}:{self.bound()}]",
            f"({a})[{self.bound()}:{self.bound()}:{self.pick('-1', '2', '-2')}]",
            f"({a}) | {self.pick('upper', 'lower', 'title', 'capitalize', 'trim', 'string', 'reverse', 'tojson', 'e', 'first', 'last')}",
            f"({a}).{self.pick('upper', 'lower', 'title', 'strip', 'lstrip', 'rstrip', 'capitalize')}()",
            f"({a}) | replace({b}, {self.text(0)})", f"({a}).replace({self.text(0)}, {b})", f"({self.any(depth - 1)}) | string",
            f"{self.sequence(depth - 1)} | join({self.text(0)})", f"({a}) | default({b})", f"({a}) | default({b}, true)",
            f"({self.any(depth - 1)}) | tojson", f"{a} * {self.pick('0', '1', '2', '-1')}",
            f"{a} if {self.condition(depth - 1)} else {b}", f"({a}) | indent({self.pick('1', '2, true', '2, false, true')})",
            f"'%s|%5s' % ({a}, {b})", f"'{{}}-{{:>4}}'.format({a}, {b})", f"({a}).strip({self.text(0)})")

    def bound(self):
        return self.pick("", "", "0", "1", "2", "-1", "-2", "5")

    def sequence(self, depth):
        if depth == 0:
            return self.pick("xs", "[]", "[1, 'a', none]", "(1, 2)", "d", "ps", "['b', 'A', 'c']", "range(4) | list", "missing", "d.c")
        a = self.sequence(depth - 1)
        return self.pick(
            f"[{self.any(depth - 1)}, {self.any(depth - 1)}]", f"({self.any(depth - 1)}, {self.any(depth - 1)})",
            f"({a} | list)[{self.bound()}:{self.bound()}]", f"{a} | {self.pick('list', 'sort', 'unique | list', 'reverse | list', 'list')}",
            f"({self.text(depth - 1)}).split({self.pick('', self.text(0))})", f"{a} | map('string') | list", f"{a} + {self.sequence(depth - 1)}",
            f"{a} | select({self.pick('', repr('defined'), repr('string'), repr('number'))}) | list", f"d.{self.pick('keys', 'values', 'items')}() | list",
            f"ps | selectattr('k', 'in', {self.pick('[' + repr('b') + ']', 's')}) | map(attribute='v') | list", f"{a} | batch(2) | list",
            f"({a} if {self.condition(depth - 1)} else {self.sequence(depth - 1)})", "d | dictsort", "d | items | list", f"ps | map(attribute='{self.pick('k', 'v', 'w')}') | list",
            f"({self.text(depth - 1)}) | list", f"{{{self.text(0)}: {self.any(depth - 1)}}}", f"{a} * 2")

    def condition(self, depth):
        if depth == 0:
            return self.pick("t", "n", "true", "false", "missing", "x > 3", "'a' in d", "s is string", "xs")
        return self.pick(
            f"{self.number(depth - 1)} {self.pick('<', '<=', '>', '>=', '==', '!=')} {self.number(depth - 1)}",
            f"{self.text(depth - 1)} {self.pick('==', '!=', '<', 'in', 'not in')} {self.text(depth - 1)}",
            f"{self.any(depth - 1)} in {self.sequence(depth - 1)}", f"not {self.condition(depth - 1)}",
            f"({self.condition(depth - 1)} {self.pick('and', 'or')} {self.condition(depth - 1)})",
            f"({self.any(depth - 1)}) is {self.pick('', 'not ')}{self.pick('defined', 'none', 'string', 'number', 'mapping', 'iterable', 'sequence', 'boolean', 'integer', 'float', 'true', 'false', 'undefined')}",
            f"{self.any(depth - 1)} == {self.any(depth - 1)}", f"{self.text(depth - 1)}.startswith({self.text(0)})",
            f"({self.number(depth - 1)}) is {self.pick('odd', 'even', 'divisibleby 2')}")


def write(name, content):
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), indent=None).replace('},{"', '},\n{"')
    (OUT / name).write_text(text + "\n")


def expressions(seed, count):
    generator = Expressions(seed)
    return ["{{ " + generator.any(1 + i % 3) + " }}" for i in range(count)]


def main():
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    write("families.json", {"conversations": CONVERSATIONS, "tokens": tokens, "templates": [
        {"name": name, "template": template, "results": [outcome(template, {**tokens, **c}) for c in CONVERSATIONS]}
        for name, template in FAMILIES.items()]})
    write("expressions.json", {"variables": PLAIN, "templates": [
        {"template": template, **outcome(template, PLAIN)} for template in dict.fromkeys([*constructs(), *expressions(20240726, 1200)])]})


if __name__ == "__main__":
    main()
