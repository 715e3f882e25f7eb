//! How the parts of an entry are written: members in RFC 8785 order, absent where there is nothing to say.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Serialize, Serializer};
use strongroom_domain::route::AttributeSet;
use strongroom_domain::{DataKeyId, ExportId, ForwardId, RequestId, TenantId};

use super::entry::{
    Actor, CardChange, Destination, ExportRef, IdempotencyRef, KeyRef, Object, Pol, Req, Source, Tls,
};
use super::label::Label;

pub(super) fn actor<S: Serializer>(actor: &&Actor, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Wire<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        cert_sha256: Option<String>,
        id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        mfa: Option<bool>,
        r#type: &'static str,
    }
    let wire = match actor {
        Actor::Workload { id, cert_sha256 } => {
            Wire { cert_sha256: cert_sha256.map(hex::encode), id: id.as_str(), mfa: None, r#type: "workload" }
        }
        Actor::Human { id, cert_sha256, mfa } => Wire {
            cert_sha256: Some(hex::encode(cert_sha256)),
            id: id.as_str(),
            mfa: Some(*mfa),
            r#type: "human",
        },
        Actor::Unidentified { cert_sha256 } => {
            Wire { cert_sha256: cert_sha256.map(hex::encode), id: "-", mfa: None, r#type: "unidentified" }
        }
        Actor::Service => Wire { cert_sha256: None, id: "-", mfa: None, r#type: "system" },
    };
    wire.serialize(to)
}

pub(super) fn some_change<S: Serializer>(change: &Option<CardChange>, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Wire {
        record_sha256: String,
        row_version: u64,
    }
    change
        .map(|change| Wire {
            record_sha256: hex::encode(change.record_sha256),
            row_version: change.row_version,
        })
        .serialize(to)
}

pub(super) fn some_destination<S: Serializer>(dst: &Option<&Destination>, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Wire<'a> {
        account: &'a str,
        attributes: AttributeSet,
        #[serde(skip_serializing_if = "Option::is_none")]
        forward_id: Option<ForwardId>,
        host: &'a str,
        method: &'a str,
        path: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        route_id: &'a str,
    }
    dst.map(|dst| Wire {
        account: dst.account.as_str(),
        attributes: dst.attributes,
        forward_id: dst.forward,
        host: &dst.host,
        method: &dst.method,
        path: &dst.path,
        port: dst.port,
        route_id: dst.route.as_str(),
    })
    .serialize(to)
}

pub(super) fn some_export<S: Serializer>(export: &Option<ExportRef>, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Wire {
        #[serde(skip_serializing_if = "Option::is_none")]
        file_sha256: Option<String>,
        id: ExportId,
        #[serde(skip_serializing_if = "Option::is_none")]
        manifest_sha256: Option<String>,
        request_sha256: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        run: Option<u32>,
    }
    export
        .map(|export| Wire {
            file_sha256: export.made.map(|made| hex::encode(made.file_sha256)),
            id: export.id,
            manifest_sha256: export.made.map(|made| hex::encode(made.manifest_sha256)),
            request_sha256: hex::encode(export.request_sha256),
            run: export.run,
        })
        .serialize(to)
}

pub(super) fn some_key<S: Serializer>(key: &Option<&KeyRef>, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Wire<'a> {
        dek_id: DataKeyId,
        #[serde(skip_serializing_if = "Option::is_none")]
        kek_ref: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        kek_ver: Option<u64>,
    }
    key.map(|key| Wire { dek_id: key.dek_id, kek_ref: key.kek_ref.as_deref(), kek_ver: key.kek_ver })
        .serialize(to)
}

pub(super) fn object<S: Serializer>(object: &&Object, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Wire<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        purpose: Option<&'a str>,
        r#ref: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tenant: Option<&'a str>,
        r#type: &'static str,
    }
    let (kind, reference, tenant, purpose): (_, Cow<'_, str>, _, _) = match object {
        Object::Token { token, tenant } => ("token", token.as_str().into(), tenant.as_ref(), None),
        Object::Tenant(tenant) => ("tenant", tenant.as_str().into(), Some(tenant), None),
        Object::Forward { id, tenant } => ("forward", id.to_string().into(), tenant.as_ref(), None),
        Object::Export { id, tenant } => ("export", id.to_string().into(), Some(tenant), None),
        Object::Key { id, tenant, purpose } => {
            ("key", id.to_string().into(), tenant.as_ref(), Some(*purpose))
        }
        Object::Boot(boot) => ("boot", boot.to_string().into(), None, None),
        Object::Listener(name) => ("listener", (*name).into(), None, None),
        Object::Operation(name) => ("operation", (*name).into(), None, None),
        Object::Log => ("log", "audit".into(), None, None),
        Object::LogFile(file) => ("log", file.to_string().into(), None, None),
        Object::Receipt { id, tenant } => ("receipt", id.to_string().into(), tenant.as_ref(), None),
        Object::Evidence(manifest) => ("evidence", hex::encode(manifest).into(), None, None),
        Object::Workload(id) => ("workload", id.as_str().into(), None, None),
        Object::Review(signed) => ("review", hex::encode(signed).into(), None, None),
        Object::Service(name) => ("service", (*name).into(), None, None),
    };
    let tenant = tenant.map(TenantId::as_str);
    Wire { purpose, r#ref: reference, tenant, r#type: kind }.serialize(to)
}

pub(super) fn some_policy<S: Serializer>(pol: &Option<&Pol>, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Wire<'a> {
        id: Vec<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        rev: Option<u64>,
        sha256: String,
    }
    pol.map(|pol| Wire {
        id: pol.id.iter().map(Label::as_str).collect(),
        rev: pol.rev,
        sha256: hex::encode(pol.sha256),
    })
    .serialize(to)
}

pub(super) fn some_request<S: Serializer>(req: &Option<&Req>, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Wire<'a> {
        id: RequestId,
        #[serde(skip_serializing_if = "Option::is_none")]
        idem_ref: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        traceparent: Option<&'a str>,
    }
    req.map(|req| Wire {
        id: req.id,
        idem_ref: req.idem_ref.map(IdempotencyRef::hex),
        traceparent: req.traceparent.as_ref().map(Label::as_str),
    })
    .serialize(to)
}

pub(super) fn some_source<S: Serializer>(src: &Option<&Source>, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct WireTls {
        group: &'static str,
        suite: &'static str,
        ver: &'static str,
    }
    #[derive(Serialize)]
    struct Wire {
        ip: IpAddr,
        port: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        tls: Option<WireTls>,
    }
    let tls = |Tls { version, suite, group }: Tls| WireTls { group, suite, ver: version };
    src.map(|src| Wire { ip: src.ip(), port: src.peer.port(), tls: src.tls.map(tls) }).serialize(to)
}
