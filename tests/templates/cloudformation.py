"""The part of CloudFormation that the checks need: the values of intrinsic functions for given parameters, and the longest
text for all values that the parameters allow."""

import re
from re import _parser as pattern_parser

# The longest values of CloudFormation's own parameters.
PSEUDO = {
    "AWS::StackName": "S" * 128,
    "AWS::Region": "ap-southeast-2",
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::StackId": "arn:aws:cloudformation:eu-central-1:123456789012:stack/name/id",
    "AWS::URLSuffix": "amazonaws.com",
}


class NoValue:
    """A property that is `AWS::NoValue` does not exist."""


def load(path):
    """The template as written, with short forms (!Ref) in their long form. For programs without SAM."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def short_form(loader, suffix, node):
        kinds = {yaml.ScalarNode: loader.construct_scalar, yaml.SequenceNode: loader.construct_sequence, yaml.MappingNode: loader.construct_mapping}
        value = kinds[type(node)](node) if isinstance(node, yaml.ScalarNode) else kinds[type(node)](node, deep=True)
        if suffix == "GetAtt" and isinstance(value, str):
            value = value.split(".", 1)
        return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}

    Loader.add_multi_constructor("!", short_form)
    return yaml.load(path.read_text(encoding="utf-8"), Loader)


class Stack:
    """A template with the values of its parameters; `attributes` contains the values of Ref and GetAtt for resources."""

    def __init__(self, template, parameters=None, pseudo=None, attributes=None):
        self.template = template
        declared = template.get("Parameters", {})
        unknown = set(parameters or {}) - set(declared)
        assert not unknown, f"no such parameter: {unknown}"
        for name, value in (parameters or {}).items():
            assert allowed(declared[name], value), f"{name} may not be {value!r}"
        self.values = {name: str(entry.get("Default", "")) for name, entry in declared.items()}
        self.values |= parameters or {}
        self.pseudo = PSEUDO | (pseudo or {})
        self.attributes = attributes or {}

    def condition(self, name):
        return self.resolve(self.template["Conditions"][name])

    def has(self, kind, name):
        """Whether a resource or an output is created."""
        entry = self.template[kind].get(name)
        return entry is not None and ("Condition" not in entry or self.condition(entry["Condition"]))

    def resource(self, name):
        assert self.has("Resources", name), f"{name} is not made"
        return self.resolve(self.template["Resources"][name].get("Properties", {}))

    def output(self, name):
        assert self.has("Outputs", name), f"{name} is no output"
        return self.resolve(self.template["Outputs"][name]["Value"])

    def reference(self, name):
        if name == "AWS::NoValue":
            return NoValue
        if name in self.values:
            return self.values[name]
        if name in self.pseudo:
            return self.pseudo[name]
        resource = name.split(".")[0]
        # SAM creates resources that are not in the template, such as ProxyUrl.
        implied = resource not in self.template["Resources"] and name in self.attributes
        assert implied or self.has("Resources", resource), f"{name} refers to nothing that is made"
        return self.attributes.get(name, f"<{name}>")

    def resolve(self, node):
        if isinstance(node, list):
            return [value for value in map(self.resolve, node) if value is not NoValue]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (function, argument), = node.items()
            evaluate = getattr(self, "_" + function.replace("Fn::", "").lower(), None)
            if function in ("Ref", "Condition") or function.startswith("Fn::"):
                assert evaluate, f"{function} is not known here"
                return evaluate(argument)
        resolved = {key: self.resolve(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not NoValue}

    def _ref(self, name):
        return self.reference(name)

    def _condition(self, name):
        return self.condition(name)

    def _getatt(self, argument):
        return self.reference(argument if isinstance(argument, str) else ".".join(argument))

    def _sub(self, argument):
        text, given = argument if isinstance(argument, list) else (argument, {})
        given = {key: self.resolve(value) for key, value in given.items()}
        put = lambda found: found[0] if found[1].startswith("!") else str(given.get(found[1]) or self.reference(found[1]))
        return re.sub(r"\$\{([^}]+)\}", put, text).replace("${!", "${")

    def _if(self, argument):
        name, yes, no = argument
        return self.resolve(yes if self.condition(name) else no)

    def _equals(self, argument):
        one, other = map(self.resolve, argument)
        return str(one) == str(other)

    def _not(self, argument):
        return not self.resolve(argument[0])

    def _and(self, argument):
        return all(map(self.resolve, argument))

    def _or(self, argument):
        return any(map(self.resolve, argument))

    def _join(self, argument):
        separator, parts = argument
        return separator.join(self.resolve(parts))

    def _split(self, argument):
        separator, text = argument
        return self.resolve(text).split(separator)

    def _select(self, argument):
        index, values = argument
        return self.resolve(values)[int(index)]

    def refusals(self):
        """The messages of the template's Rules that fail."""
        found = []
        for rule in self.template.get("Rules", {}).values():
            if self.resolve(rule.get("RuleCondition", {"Fn::Equals": ["", ""]})):
                found += [a["AssertDescription"] for a in rule["Assertions"] if not self.resolve(a["Assert"])]
        return found


def allowed(parameter, value):
    """Whether CloudFormation accepts this value for the parameter."""
    values = [str(value) for value in parameter.get("AllowedValues", [])]
    if values and value not in values:
        return False
    if parameter["Type"] == "Number":
        number = float(value)
        if not float(parameter.get("MinValue", number)) <= number <= float(parameter.get("MaxValue", number)):
            return False
    length = int(parameter.get("MinLength", 0)) <= len(value) <= int(parameter.get("MaxLength", 4096))
    return length and re.fullmatch(parameter.get("AllowedPattern", r"[\s\S]*"), value) is not None


def longest(parameter):
    """The length of the longest value that the parameter allows."""
    if "AllowedValues" in parameter:
        return max(len(str(value)) for value in parameter["AllowedValues"])
    # A template's parameter can have 4,096 bytes.
    bounds = [int(parameter.get("MaxLength", 4096))]
    if "AllowedPattern" in parameter:
        bounds.append(int(pattern_parser.parse(parameter["AllowedPattern"]).getwidth()[1]))
    if parameter["Type"] == "Number":
        bounds.append(len(str(parameter.get("MaxValue", 10**18))))
    return min(bounds)


def longest_text(template, node):
    """The length of the longest text of a property, for every allowed value of every parameter."""
    if isinstance(node, str):
        return len(node)
    (function, argument), = node.items()
    if function == "Fn::If":
        return max(longest_text(template, branch) for branch in argument[1:])
    assert function in ("Fn::Sub", "Ref"), f"{function} in a text whose length matters"
    text = argument if function == "Fn::Sub" else f"${{{argument}}}"
    length = len(re.sub(r"\$\{[^}]+\}", "", text))
    for name in re.findall(r"\$\{([^}]+)\}", text):
        parameter = template["Parameters"].get(name)
        length += longest(parameter) if parameter else len(PSEUDO[name])
    return length
