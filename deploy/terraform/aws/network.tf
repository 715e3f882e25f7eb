# Five kinds of subnets in three zones. The vault's have no way out of the VPC at all; the proxy's have one to the Internet, where PSPs are.
locals {
  cidr = var.networks[var.environment]
  # A /20 of the /16 for each kind, a /22 of it for each zone.
  kinds   = { vault = 0, proxy = 1, database = 2, endpoints = 3, public = 4 }
  subnets = { for pair in setproduct(keys(local.kinds), range(3)) : "${pair[0]}-${pair[1]}" => { kind = pair[0], zone = pair[1] } }
}

resource "aws_vpc" "this" {
  cidr_block           = local.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = local.name }
}

resource "aws_default_security_group" "nothing" {
  vpc_id = aws_vpc.this.id
}

resource "aws_subnet" "this" {
  for_each                = local.subnets
  vpc_id                  = aws_vpc.this.id
  cidr_block              = cidrsubnet(cidrsubnet(local.cidr, 4, local.kinds[each.value.kind]), 2, each.value.zone)
  availability_zone       = var.zones[each.value.zone]
  map_public_ip_on_launch = false
  tags                    = { Name = "${local.name}-${each.key}", kind = each.value.kind }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
}

resource "aws_eip" "nat" {
  count  = 3
  domain = "vpc"
}

resource "aws_nat_gateway" "this" {
  count         = 3
  allocation_id = aws_eip.nat[count.index].id
  subnet_id     = aws_subnet.this["public-${count.index}"].id
}

resource "aws_route_table" "inside" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${local.name}-inside" }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id
}

resource "aws_route" "public" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route_table" "proxy" {
  count  = 3
  vpc_id = aws_vpc.this.id
}

resource "aws_route" "proxy" {
  count                  = 3
  route_table_id         = aws_route_table.proxy[count.index].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this[count.index].id
}

resource "aws_route_table_association" "this" {
  for_each  = local.subnets
  subnet_id = aws_subnet.this[each.key].id
  route_table_id = (
    each.value.kind == "public" ? aws_route_table.public.id :
    each.value.kind == "proxy" ? aws_route_table.proxy[each.value.zone].id :
    aws_route_table.inside.id
  )
}

# Private names of what the vault and its nodes ask for: no address of these services is public from in here.
resource "aws_vpc_endpoint" "this" {
  for_each            = toset(["kms", "sts", "s3", "secretsmanager", "ecr.api", "ecr.dkr"])
  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${var.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = [for zone in range(3) : aws_subnet.this["endpoints-${zone}"].id]
  security_group_ids  = [aws_security_group.endpoints.id]

  dynamic "dns_options" {
    for_each = each.key == "s3" ? [1] : []
    content {
      private_dns_only_for_inbound_resolver_endpoint = false
    }
  }
}

resource "aws_security_group" "vault" {
  #checkov:skip=CKV2_AWS_5:the cluster's node group or pods take it; they are not made here
  name        = "${local.name}-vault"
  description = "The vault: database and endpoints, nothing else"
  vpc_id      = aws_vpc.this.id
}

resource "aws_security_group" "proxy" {
  #checkov:skip=CKV2_AWS_5:the cluster's node group or pods take it; they are not made here
  name        = "${local.name}-proxy"
  description = "The proxy: the vault, endpoints, and PSPs on 443"
  vpc_id      = aws_vpc.this.id
}

resource "aws_security_group" "database" {
  name        = "${local.name}-database"
  description = "The database: from the vault alone"
  vpc_id      = aws_vpc.this.id
}

resource "aws_security_group" "endpoints" {
  name        = "${local.name}-endpoints"
  description = "Endpoints: from vault and proxy nodes"
  vpc_id      = aws_vpc.this.id
}

locals {
  # From, to, port: every way between them there is.
  ways = {
    vault-database  = { from = aws_security_group.vault.id, to = aws_security_group.database.id, port = 5432 }
    vault-endpoints = { from = aws_security_group.vault.id, to = aws_security_group.endpoints.id, port = 443 }
    proxy-endpoints = { from = aws_security_group.proxy.id, to = aws_security_group.endpoints.id, port = 443 }
    proxy-vault     = { from = aws_security_group.proxy.id, to = aws_security_group.vault.id, port = 7400 }
  }
}

resource "aws_vpc_security_group_egress_rule" "ways" {
  for_each                     = local.ways
  description                  = each.key
  security_group_id            = each.value.from
  referenced_security_group_id = each.value.to
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_ingress_rule" "ways" {
  for_each                     = local.ways
  description                  = each.key
  security_group_id            = each.value.to
  referenced_security_group_id = each.value.from
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "psps" {
  description       = "PSPs: their addresses are theirs to change"
  security_group_id = aws_security_group.proxy.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_flow_log" "this" {
  vpc_id               = aws_vpc.this.id
  traffic_type         = "ALL"
  log_destination      = aws_cloudwatch_log_group.flows.arn
  log_destination_type = "cloud-watch-logs"
  iam_role_arn         = aws_iam_role.flows.arn
}

resource "aws_cloudwatch_log_group" "flows" {
  name              = "${local.name}-flows"
  retention_in_days = 400
  kms_key_id        = aws_kms_key.storage["flows"].arn
}
