# What Strongroom needs of AWS besides a cluster to run in. Not applied: see ../../README.md.
terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { project = "strongroom", environment = var.environment }
  }
}

data "aws_caller_identity" "current" {}

locals {
  name    = "strongroom-${var.environment}"
  account = data.aws_caller_identity.current.account_id
  root    = "arn:aws:iam::${local.account}:root"
}
