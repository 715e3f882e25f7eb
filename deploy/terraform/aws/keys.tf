# The key that wraps data keys. The vault uses it, under its own context alone; administrators manage it and cannot use it; nobody else is
# named, the account's own policies included.
locals {
  # As vault/sealing/src/key.rs makes it; deploy/check.py holds this to it.
  context_keys     = ["app", "environment", "key_id", "purpose", "tenant"]
  context_purposes = ["audit-signing", "card", "fingerprint", "idempotency"]
  in_context = {
    StringEquals = {
      "kms:EncryptionContext:app"         = "strongroom"
      "kms:EncryptionContext:environment" = var.environment
      "kms:EncryptionContext:purpose"     = local.context_purposes
    }
    "ForAllValues:StringEquals" = { "kms:EncryptionContextKeys" = local.context_keys }
    Null = {
      "kms:EncryptionContext:tenant" = "false"
      "kms:EncryptionContext:key_id" = "false"
    }
  }
}

resource "aws_kms_key" "data" {
  description             = "${local.name}: wraps data keys"
  enable_key_rotation     = true
  rotation_period_in_days = 365
  deletion_window_in_days = 30
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Manage"
        Effect    = "Allow"
        Principal = { AWS = var.key_administrators }
        Action = [
          "kms:CancelKeyDeletion", "kms:DescribeKey", "kms:DisableKey", "kms:EnableKey", "kms:EnableKeyRotation", "kms:GetKeyPolicy",
          "kms:GetKeyRotationStatus", "kms:ListKeyPolicies", "kms:ListKeyRotations", "kms:ListResourceTags", "kms:PutKeyPolicy",
          "kms:RotateKeyOnDemand", "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource", "kms:UpdateAlias",
          "kms:CreateAlias", "kms:UpdateKeyDescription",
        ]
        Resource = "*"
      },
      {
        Sid       = "WrapAndUnwrap"
        Effect    = "Allow"
        Principal = { AWS = aws_iam_role.vault.arn }
        Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
        Resource  = "*"
        Condition = local.in_context
      },
      {
        Sid       = "LookAt"
        Effect    = "Allow"
        Principal = { AWS = aws_iam_role.vault.arn }
        Action    = ["kms:DescribeKey"]
        Resource  = "*"
      },
      {
        Sid       = "NobodyElseUses"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*", "kms:CreateGrant"]
        Resource  = "*"
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = aws_iam_role.vault.arn } }
      },
    ]
  })
}

resource "aws_kms_alias" "data" {
  name          = "alias/strongroom-${var.environment}"
  target_key_id = aws_kms_key.data.key_id
}

# Disks, secrets, logs: what AWS itself encrypts, a key for each.
resource "aws_kms_key" "storage" {
  for_each                = toset(["alarms", "database", "flows", "log", "secrets"])
  description             = "${local.name}: ${each.key}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{ Sid = "Account", Effect = "Allow", Principal = { AWS = local.root }, Action = "kms:*", Resource = "*" }],
      each.key == "flows" ? [{
        Sid       = "Logs"
        Effect    = "Allow"
        Principal = { Service = "logs.${var.region}.amazonaws.com" }
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey"]
        Resource  = "*"
        Condition = { ArnEquals = { "kms:EncryptionContext:aws:logs:arn" = "arn:aws:logs:${var.region}:${local.account}:log-group:${local.name}-flows" } }
      }] : [],
      each.key == "alarms" ? [{
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = ["cloudwatch.amazonaws.com", "events.amazonaws.com"] }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      }] : [],
    )
  })
}
