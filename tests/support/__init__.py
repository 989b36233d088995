"""What tests of several parts share: certificates, processes, databases. Nothing here stands in for a part of ours."""
