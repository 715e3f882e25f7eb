variable "environment" {
  description = "As in the vault's configuration: it is part of every encryption context."
  type        = string
  validation {
    condition     = contains(["live", "test"], var.environment)
    error_message = "environment is live or test."
  }
}

variable "region" {
  description = "As in the vault's configuration (kms.region, audit.bucket.region)."
  type        = string
  default     = "eu-central-1"
}

variable "zones" {
  description = "Three zones of the region."
  type        = list(string)
  default     = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  validation {
    condition     = length(distinct(var.zones)) == 3
    error_message = "Name three different zones."
  }
}

variable "networks" {
  description = "A /16 for each environment, as deploy/kubernetes/overlays/*/network.yaml has them."
  type        = map(string)
  default     = { test = "10.40.0.0/16", live = "10.41.0.0/16" }
}

variable "oidc_provider" {
  description = "Issuer of the cluster's service account tokens, without https://."
  type        = string
}

variable "key_administrators" {
  description = "ARNs of who may manage the key that wraps data keys, and never use it. Whoever applies this is one of them: the account itself has no right to the key."
  type        = list(string)
  validation {
    condition     = length(var.key_administrators) > 0
    error_message = "Name at least one: without it nobody could ever change the key."
  }
}

variable "database_instance_class" {
  type    = string
  default = "db.r7g.large"
}

variable "log_lock" {
  description = "How long the signed log is held; the vault's audit.bucket.retention is the same or longer."
  type        = map(object({ mode = string, days = number }))
  default = {
    test = { mode = "GOVERNANCE", days = 7 }
    live = { mode = "COMPLIANCE", days = 400 }
  }
}

variable "alarm_email" {
  description = "Who is told."
  type        = string
}
