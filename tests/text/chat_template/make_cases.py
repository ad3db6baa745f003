#!/usr/bin/env python3
"""Writes tests/data/chat_templates/families.json and expressions.json: what Jinja itself makes of templates in the
style of many model families, of the constructs that templates are made of, and of random small expressions. The
environment is the one in which templates are rendered elsewhere: an immutable sandbox, trim_blocks, lstrip_blocks.

Needs jinja2. The templates of families are in family_templates.py.
"""

import datetime
import json
import pathlib
import random

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from family_templates import FAMILIES

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
{% for i in xs %}{% continue %}{% else %}left{% endfor %}{% for i in xs %}{{ i }}{% break %}{% else %}left{% endfor %}
{% for i in xs %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% else %}left{% endfor %}
{% for a in xs %}{% for i in [] %}{% else %}{% break %}{% endfor %}{{ a }}{% else %}none{% endfor %}
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
{% macro m() %}<>{% endmacro %}{% call m() %}in {{ x }}{% endcall %}
{% macro m() %}<{{ kwargs | list }}>{% endmacro %}{% call m() %}in {{ x }}{% endcall %}
{% set comma = joiner() %}{% for i in xs %}{{ comma() }}{{ i }}{% endfor %}{% set bar = joiner('|') %}{{ bar() }}{{ bar() }}
{{ x is filter }}{{ 'upper' is filter }}{{ 'nothing' is filter }}{{ x is test }}{{ 'odd' is test }}{{ missing is sameas other }}{{ n is sameas none }}{{ 'a'.partition('') }}
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
{% for g in ps | groupby('v') %}{{ g.grouper }}{{ g.list | length }}{{ g }}{{ g[1] | map(attribute='k') | list }}{% for a, b in [g] %}{{ a }}{% endfor %}{{ g is sequence }}{{ g.other is defined }};{% endfor %}
{{ ps | sort(attribute='v,k') | map(attribute='k') | list }}{{ ps | sort(attribute='v,k', reverse=true) | map(attribute='k') | list }}{{ ps | sort(attribute='v, k') | length }}
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
