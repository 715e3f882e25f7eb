"""The overlays: settings are the programs' own, and ports, paths, users, times and ways through the network are those of the settings."""

import ipaddress
import json
import re
import tomllib
from pathlib import Path

from . import common

OVERLAYS = ("live", "test")
# Settings that name a secret its group may not open; what else ends with `_file` may be the group's.
OWN = ("secret_access_key_file", "ca_key_file")


def check(report: common.Report, rendered: Path | None) -> None:
    for overlay in OVERLAYS:
        folder = common.DEPLOY / "kubernetes/overlays" / overlay / "config"
        check_settings(report, overlay, folder)
        if rendered is None:
            report.skip(f"{overlay} as rendered: give --rendered, or run `.ci/run deploy`")
        else:
            Overlay(report, overlay, folder, json.loads((rendered / f"{overlay}.json").read_text())).check()


def check_settings(report: common.Report, overlay: str, folder: Path) -> None:
    replicas = sorted(folder.glob("strongroom-vault-*.toml"))
    names = [f"strongroom-vault-{number}.toml" for number in range(len(replicas))]
    report.same(f"{overlay}: files of replicas", [path.name for path in replicas], names)
    alike = set()
    for path in [*replicas, folder / "proxy.toml"]:
        config, name = common.toml(path), f"{overlay}: {path.name}"
        program = "proxy" if path.name == "proxy.toml" else "vault"
        for setting in unknown(config, common.full(program)):
            report.expect(False, f"{name}: no setting is called {setting}")
        report.same(f"{name}: environment", config["environment"], overlay)
        wanted, found = common.ports(program, common.full(program)), common.ports(program, config)
        report.same(f"{name}: ports", found, {place: wanted[place] for place in found})
        if program == "vault":
            report.same(f"{name}: instance", config["instance"], path.stem)
            alike.add(json.dumps(config | {"instance": ""}, sort_keys=True))
    report.same(f"{overlay}: replicas that differ in more than their name", len(alike), 1)


def unknown(config: dict, full: dict, place: str = "") -> list[str]:
    found = []
    for key, value in config.items():
        if key not in full:
            found.append(place + key)
        elif isinstance(value, dict) and isinstance(full[key], dict):
            found += unknown(value, full[key], f"{place}{key}.")
    return found


def paths(config: dict, place: str = "") -> list[tuple[str, str]]:
    """Every absolute path of a configuration, with its setting."""
    found = []
    for key, value in config.items():
        if isinstance(value, dict):
            found += paths(value, f"{place}{key}.")
        elif isinstance(value, str) and value.startswith("/"):
            found.append((place + key, value))
    return found


class Overlay:
    """One overlay as rendered."""

    def __init__(self, report: common.Report, name: str, folder: Path, objects: list[dict]) -> None:
        self.report, self.name, self.folder, self.objects = report, name, folder, objects

    def all(self, kind: str) -> list[dict]:
        return [made for made in self.objects if made["kind"] == kind]

    def expect(self, holds: bool, otherwise: str) -> None:
        self.report.expect(holds, f"{self.name}: {otherwise}")

    def same(self, what: str, found: object, wanted: object) -> None:
        self.report.same(f"{self.name}: {what}", found, wanted)

    def check(self) -> None:
        vault, proxy = self.all("StatefulSet")[0], self.all("Deployment")[0]
        replicas = len(list(self.folder.glob("strongroom-vault-*.toml")))
        self.same("replicas of the vault, a file each", vault["spec"]["replicas"], replicas)
        self.pod("vault", vault, tomllib.loads((self.folder / "strongroom-vault-0.toml").read_text()), "$(POD_NAME).toml")
        self.pod("proxy", proxy, tomllib.loads((self.folder / "proxy.toml").read_text()), "proxy.toml")
        self.same("objects that keep replicas apart from disruption", len(self.all("PodDisruptionBudget")), 2)
        self.bundle()
        self.network()

    def pod(self, program: str, owner: dict, config: dict, file: str) -> None:
        spec, number = owner["spec"]["template"]["spec"], common.users()[f"strongroom-{program}"]
        (container,), (secrets,) = spec["containers"], spec["initContainers"]
        context = spec["securityContext"]
        self.same(f"{program}: users", [context[as_] for as_ in ("runAsUser", "runAsGroup", "fsGroup")], [number] * 3)
        command = ["serve", "--config", f"/etc/strongroom/config/{file}"]
        self.same(f"{program}: args", container["args"], command)
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        self.same(f"{program}: ports", ports, common.ports(program, config))
        ops = common.read("vault/perimeter/src/ops.rs")
        for kind, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            self.same(f"{program}: {kind}", container[kind]["httpGet"], {"path": path, "port": "ops"})
            self.expect(f'"{path}"' in ops, f"{program}: the program has no {path}")
        needed = container["lifecycle"]["preStop"]["sleep"]["seconds"] + common.drain_seconds(program)
        self.expect(spec["terminationGracePeriodSeconds"] > needed, f"{program}: is killed before it has drained, which takes {needed} s")
        self.same(f"{program}: spread", {one["topologyKey"] for one in spec["topologySpreadConstraints"]}, {"topology.kubernetes.io/zone", "kubernetes.io/hostname"})
        attributes = next(one for one in spec["volumes"] if one["name"] == "tls")["csi"]["volumeAttributes"]
        self.same(f"{program}: group of certificates", attributes["csi.cert-manager.io/fs-group"], str(number))
        self.expect("," not in attributes["csi.cert-manager.io/uri-sans"], f"{program}: a workload has exactly one URI SAN")
        self.files(program, container, secrets, config)

    def files(self, program: str, container: dict, secrets: dict, config: dict) -> None:
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        for setting, path in paths(config):
            mount = next((mounts[at] for at in mounts if path == at or path.startswith(at + "/")), None)
            self.expect(mount is not None, f"{program}: {setting} = {path} is on no volume")
            if setting == "audit.folder":
                self.expect(mount is not None and not mount.get("readOnly"), f"{program}: {setting} is on a volume that is read only")
            if setting.rpartition(".")[2] in OWN:
                self.expect("/in/" + path.rpartition("/")[2] in secrets["args"], f"{program}: {setting} keeps its group's mode")
        self.same(f"{program}: mode of secrets", secrets["args"][:4], ["-m", "0400", "-t", "/out"])
        writable = [mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
        self.same(f"{program}: volumes it writes to", writable, ["log"] if program == "vault" else [])

    def bundle(self) -> None:
        """Vault and proxy hold one bundle, whole; its workloads are who certificates say they are."""
        made = next(one for one in self.all("ConfigMap") if one["metadata"]["name"].startswith("strongroom-policies"))
        for owner in self.all("StatefulSet") + self.all("Deployment"):
            volume = next(one for one in owner["spec"]["template"]["spec"]["volumes"] if one["name"] == "policies")
            (source,) = volume["projected"]["sources"]
            self.same("the bundle's map", source["configMap"]["name"], made["metadata"]["name"])
            self.same("the bundle's files", sorted(item["key"] for item in source["configMap"]["items"]), sorted(made["data"]))
        families = {path.name for path in (common.ROOT / "policies").glob("*.cedar")}
        self.same("families of policies", {key for key in made["data"] if key.endswith(".cedar")}, families)
        proxy = self.all("Deployment")[0]["spec"]["template"]["spec"]
        tls = next(one for one in proxy["volumes"] if one["name"] == "tls")["csi"]["volumeAttributes"]
        workloads = {one["id"]: one for one in json.loads(made["data"]["workloads.json"])["workloads"]}
        identity = tls["csi.cert-manager.io/uri-sans"]
        self.expect("proxy" in workloads.get(identity, {}).get("roles", []), f"the bundle knows no proxy {identity}")
        secrets = set(re.findall(r'^credential_file = "(.+)"', "\n".join(made["data"].values()), re.MULTILINE))
        given = {argument.removeprefix("/in/") for argument in proxy["initContainers"][0]["args"] if argument.startswith("/in/")}
        self.same("secrets of accounts", given, secrets)

    def network(self) -> None:
        policies = {one["metadata"]["name"]: one["spec"] for one in self.all("NetworkPolicy")}
        self.same("who may speak by default", policies["nobody"], {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
        ports = {"vault": common.ports("vault", common.full("vault")), "proxy": common.ports("proxy", common.full("proxy"))}
        for program, served in (("vault", "api"), ("proxy", "forward")):
            callers, probes = policies[f"to-{program}"]["ingress"]
            self.same(f"callers of {program}", [port["port"] for port in callers["ports"]], [ports[program][served]])
            self.same(f"port of metrics of {program}", [port["port"] for port in probes["ports"]], [ports[program]["ops"]])
            self.expect(all("podSelector" in peer and "namespaceSelector" in peer for peer in probes["from"]), f"anybody reads the ops port of {program}")
        to_vault, to_psps = policies["from-proxy"]["egress"]
        self.same("the proxy's way to the vault", to_vault["ports"], [{"protocol": "TCP", "port": ports["vault"]["api"]}])
        (block,) = (peer["ipBlock"] for peer in to_psps["to"])
        for private in ("10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "169.254.170.23", "100.64.0.1", "127.0.0.1"):
            inside = any(ipaddress.ip_address(private) in ipaddress.ip_network(hole) for hole in block["except"])
            self.expect(inside, f"the proxy reaches {private}")
        for name, spec in policies.items():
            for rule in spec.get("egress", []):
                self.expect(bool(rule.get("to")) and bool(rule.get("ports")), f"{name} leads everywhere")
                for peer in rule.get("to", []):
                    public = "ipBlock" in peer and not ipaddress.ip_network(peer["ipBlock"]["cidr"]).is_private
                    self.expect(not public or name == "from-proxy", f"{name} leads to the Internet")
        for owner in self.all("StatefulSet") + self.all("Deployment") + self.all("Job"):
            labels = owner["spec"]["template"]["metadata"]["labels"]
            self.same("part", labels.get("app.kubernetes.io/part-of"), "strongroom")
