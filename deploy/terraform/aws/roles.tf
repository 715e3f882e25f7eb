# Who the programs are to AWS. The vault: its key, and nothing else. The proxy: nobody. What reads their secrets is neither.
locals {
  trust = { for who in ["vault", "vault-secrets", "proxy-secrets"] : who => jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Federated = "arn:aws:iam::${local.account}:oidc-provider/${var.oidc_provider}" }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = { StringEquals = {
        "${var.oidc_provider}:aud" = "sts.amazonaws.com"
        "${var.oidc_provider}:sub" = "system:serviceaccount:strongroom:strongroom-${who}"
      } }
    }]
  }) }
}

# Its rights are in the key's policy.
resource "aws_iam_role" "vault" {
  name                 = "${local.name}-vault"
  assume_role_policy   = local.trust["vault"]
  max_session_duration = 3600
}

resource "aws_secretsmanager_secret" "this" {
  #checkov:skip=CKV2_AWS_57:PSPs' keys are replaced at the PSP, the database's password and the log writer's key by their owners; see the runbook of the site
  for_each                = toset(["vault/database", "vault/log-bucket", "proxy/stripe"])
  name                    = "strongroom/${each.key}"
  kms_key_id              = aws_kms_key.storage["secrets"].arn
  recovery_window_in_days = 30
}

resource "aws_iam_role" "secrets" {
  for_each             = toset(["vault", "proxy"])
  name                 = "${local.name}-${each.key}-secrets"
  assume_role_policy   = local.trust["${each.key}-secrets"]
  max_session_duration = 3600
}

resource "aws_iam_role_policy" "secrets" {
  for_each = aws_iam_role.secrets
  name     = "read"
  role     = each.value.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"]
        Resource = [for name, secret in aws_secretsmanager_secret.this : secret.arn if startswith(name, "${each.key}/")]
      },
      {
        Effect    = "Allow"
        Action    = ["kms:Decrypt"]
        Resource  = [aws_kms_key.storage["secrets"].arn]
        Condition = { StringEquals = { "kms:ViaService" = "secretsmanager.${var.region}.amazonaws.com" } }
      },
    ]
  })
}

# The vault signs requests to object storage with a key of its own (audit.bucket.access_key_id), so that other storage than AWS serves too.
# The key is made by hand and put into the secret: what Terraform makes is in its state.
resource "aws_iam_user" "log_writer" {
  #checkov:skip=CKV_AWS_273:the vault takes an access key for the log's bucket, not a role
  name = "${local.name}-log-writer"
}

resource "aws_iam_user_policy" "log_writer" {
  #checkov:skip=CKV_AWS_40:one user, one policy
  name = "write"
  user = aws_iam_user.log_writer.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:PutObjectRetention", "s3:GetObject", "s3:GetObjectRetention"]
        Resource = ["${aws_s3_bucket.log.arn}/${var.environment}/*"]
      },
      {
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = [aws_s3_bucket.log.arn]
      },
      {
        Effect    = "Allow"
        Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
        Resource  = [aws_kms_key.storage["log"].arn]
        Condition = { StringEquals = { "kms:ViaService" = "s3.${var.region}.amazonaws.com" } }
      },
    ]
  })
}

resource "aws_iam_role" "flows" {
  name = "${local.name}-flows"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "vpc-flow-logs.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy" "flows" {
  name = "write"
  role = aws_iam_role.flows.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
      Resource = ["${aws_cloudwatch_log_group.flows.arn}:*"]
    }]
  })
}

resource "aws_iam_role" "database_monitoring" {
  name = "${local.name}-database-monitoring"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "monitoring.rds.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy_attachment" "database_monitoring" {
  role       = aws_iam_role.database_monitoring.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}
