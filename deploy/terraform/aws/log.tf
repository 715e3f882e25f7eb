# Where the signed log is kept: written once, held by lock, deleted by nobody before its time.
resource "aws_s3_bucket" "log" {
  #checkov:skip=CKV_AWS_18:who reads and writes is on the trail of data events of the account; access logs into a further bucket say less
  #checkov:skip=CKV_AWS_144:a copy in another region is a site's decision about where its data may be; the log is in the database and in each replica's folder too
  #checkov:skip=CKV2_AWS_62:nothing reacts to an object; lag and refusals are the vault's own metrics
  bucket              = "${local.name}-log"
  object_lock_enabled = true
}

resource "aws_s3_bucket_versioning" "log" {
  bucket = aws_s3_bucket.log.id
  versioning_configuration {
    status = "Enabled"
  }
}

# The vault locks each object itself; this is for what anybody else should put there.
resource "aws_s3_bucket_object_lock_configuration" "log" {
  bucket = aws_s3_bucket.log.id
  rule {
    default_retention {
      mode = var.log_lock[var.environment].mode
      days = var.log_lock[var.environment].days
    }
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "log" {
  bucket = aws_s3_bucket.log.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.storage["log"].arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "log" {
  bucket                  = aws_s3_bucket.log.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "log" {
  bucket = aws_s3_bucket.log.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "log" {
  bucket = aws_s3_bucket.log.id
  rule {
    id     = "unfinished"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_s3_bucket_policy" "log" {
  bucket = aws_s3_bucket.log.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "TlsAlone"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.log.arn, "${aws_s3_bucket.log.arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "NobodyDeletesOrShortens"
        Effect    = "Deny"
        Principal = "*"
        Action    = ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", "s3:PutObjectLegalHold"]
        Resource  = "${aws_s3_bucket.log.arn}/*"
      },
      {
        Sid       = "WrittenByTheVaultFromInside"
        Effect    = "Deny"
        Principal = "*"
        Action    = ["s3:PutObject", "s3:PutObjectRetention"]
        Resource  = "${aws_s3_bucket.log.arn}/*"
        Condition = { StringNotEquals = { "aws:SourceVpce" = aws_vpc_endpoint.this["s3"].id } }
      },
      {
        Sid       = "WrittenByTheVaultAlone"
        Effect    = "Deny"
        Principal = "*"
        Action    = ["s3:PutObject", "s3:PutObjectRetention"]
        Resource  = "${aws_s3_bucket.log.arn}/*"
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = aws_iam_user.log_writer.arn } }
      },
    ]
  })
}
