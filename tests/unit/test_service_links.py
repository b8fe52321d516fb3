"""What Kubernetes says of Services in a pod's environment, beside settings."""

import pytest

from jabba.service_links import service_links
from jabba.settings import PREFIX, Settings, SettingsError


def links(service: str, port: int = 8600, name: str = "HTTP") -> dict[str, str]:
    """Return what a pod's environment has of a Service, as the kubelet makes it."""
    prefix, address = service.upper().replace("-", "_"), f"tcp://10.0.0.11:{port}"
    return {
        f"{prefix}_SERVICE_HOST": "10.0.0.11",
        f"{prefix}_SERVICE_PORT": str(port),
        f"{prefix}_SERVICE_PORT_{name}": str(port),
        f"{prefix}_PORT": address,
        f"{prefix}_PORT_{port}_TCP": address,
        f"{prefix}_PORT_{port}_TCP_PROTO": "tcp",
        f"{prefix}_PORT_{port}_TCP_PORT": str(port),
        f"{prefix}_PORT_{port}_TCP_ADDR": "10.0.0.11",
    }


@pytest.mark.parametrize("service", ["jabba", "jabba-worker", "jabba-service", "jabba-port-1-tcp", "jabba-slots"])
def test_what_is_said_of_a_service_is_passed_over(service: str) -> None:
    said = links(service)
    assert service_links(said) == dict.fromkeys(said, service)
    assert Settings.from_environ({**said, "JABBA_SLOTS": "7"}) == Settings(slots=7)
    assert Settings.from_environ(links("jabba", name="GRPC_WEB") | said) == Settings()


@pytest.mark.parametrize("service, port", [("jabba-web", "web_port"), ("jabba-metrics", "metrics_port")])
def test_a_service_whose_name_makes_that_of_a_setting_is_told(service: str, port: str) -> None:
    variable = f"{PREFIX}{port.upper()}"
    told = rf"{variable}: Kubernetes has put the address of the Service '{service}' there; .*enableServiceLinks: false"
    with pytest.raises(SettingsError, match=told) as caught:
        Settings.from_environ({**links(service), "JABBA_SLOTS": "many"})
    assert "JABBA_SLOTS" in str(caught.value)
    assert "no such setting" not in str(caught.value)
    assert Settings.from_environ({**links(service), variable: "8700"}) == Settings.model_validate({port: 8700})
    assert Settings.from_environ(links(service), **{port: 8700}) == Settings.model_validate({port: 8700})


@pytest.mark.parametrize(
    "wrong",
    [
        {"JABBA_SLOT": "7"},
        {"JABBA_PORT": "8600"},
        {"JABBA_WORKER_PORT": "8600"},
        {"JABBA_WEB_SERVICE": "10.0.0.11"},
        {"JABBA_WORKER_SERVICE_PORTS": "8600"},
        {"JABBA_OTHER_SERVICE_HOST": "10.0.0.11"},
        {"JABBA_OTHER_SERVICE_PORT": "8600"},
        {"JABBA_OTHER_PORT": "tcp://10.0.0.11:8600"},
    ],
)
def test_what_is_said_of_no_service_is_refused_beside_one(wrong: dict[str, str]) -> None:
    (name,) = wrong
    with pytest.raises(SettingsError, match=f"^{name}: there is no such setting$"):
        Settings.from_environ({**links("jabba-worker"), **wrong})


def test_no_setting_is_passed_over_whatever_services_there_are() -> None:
    for name in Settings.model_fields:
        variable = PREFIX + name.upper()
        services = {variable[:end].lower() for end in range(len("JABBA"), len(variable)) if variable[end] == "_"}
        for service in services:
            said = links(service)
            assert variable not in service_links(said | {variable: "8600"}), (variable, service)
