"""``docs/security.md`` has the rights that processes ask for in Kafka, as a table and as commands."""

from typing import get_args

from jabba.kafka.acls import AclRule, Operation, Process, rights_of
from jabba.messages.topics import Topics
from tests.support.rights import PAGE, granted_by_commands, user_of

MODULE = "tests.unit.pages.test_acls"
FIRST, LAST = "| process | Read |", "```\n"
COLUMNS = ((Operation.READ,), (Operation.WRITE,), (Operation.DESCRIBE,), (Operation.CREATE, Operation.ALTER_CONFIGS))
HEAD = "| process | Read | Write | Describe | Create and AlterConfigs |\n| --- | --- | --- | --- | --- |\n"
COMMANDS = """
```sh
prefix=${JABBA_PREFIX:-jabba}
allow() {
  user=$1; shift
  kafka-acls.sh --bootstrap-server kafka-1.example:9094 --command-config admin.properties \\
    --add --allow-principal "User:$user" "$@"
}
"""


def page(text: str) -> str:
    """Return the page with the part anew that this module writes."""
    before, _, rest = text.partition(FIRST)
    _, _, after = rest.partition("```sh\n")[2].partition(LAST)
    rows = "".join(row(process) for process in get_args(Process))
    return f"{before}{HEAD}{rows}{COMMANDS}{''.join(map(commands, get_args(Process)))}{LAST}{after}"


def row(process: Process) -> str:
    command = "`jabba.Producer`" if process == "producer" else f"`{process}`"
    rights = rights_of(process, Topics())
    cells = [", ".join(dict.fromkeys(shown(one) for one in rights if one.operation in column)) for column in COLUMNS]
    return f"| {' | '.join([command, *cells])} |\n".replace("|  ", "| ")


def shown(right: AclRule) -> str:
    return f"group `{right.name}`" if right.kind == "group" else f"`{right.name}`"


def commands(process: Process) -> str:
    lines: dict[Operation, str] = {}
    for one in rights_of(process, Topics("$prefix")):
        line = lines.setdefault(one.operation, f"allow {user_of(process)} --operation {one.operation.title}")
        lines[one.operation] = f"{line} --{one.kind} {one.name}"
    return "".join(f"{line}\n" for line in lines.values())


def test_the_page_has_every_right() -> None:
    text = PAGE.read_text()
    assert text == page(text), f"write it with: python -m {MODULE}"


def test_the_commands_allow_what_the_table_says() -> None:
    granted = granted_by_commands("other")
    assert granted == {user_of(one): set(rights_of(one, Topics("other"))) for one in get_args(Process)}


def test_every_column_of_the_table_is_there() -> None:
    needed = {one.operation for process in get_args(Process) for one in rights_of(process, Topics())}
    assert needed == {operation for column in COLUMNS for operation in column}
    of_init = rights_of("init", Topics())
    created, altered = ({one.name for one in of_init if one.operation is operation} for operation in COLUMNS[-1])
    assert created == altered, "they share a column"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
