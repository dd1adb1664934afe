"""Add up an orders file by region and month: report.py ORDERS.CSV REPORT.TXT"""

import csv
import os
import sys
from collections import defaultdict
from decimal import Decimal

orders, report = sys.argv[1:]
totals = defaultdict(Decimal)
with open(orders, newline="") as file:
    for order in csv.DictReader(file):
        amount = int(order["quantity"]) * Decimal(order["unit_price"])
        for region in (order["region"], "all"):
            for month in (order["date"][:7], "total"):
                totals[region, month] += amount

regions = [*sorted({region for region, _ in totals} - {"all"}), "all"]
months = [*sorted({month for _, month in totals} - {"total"}), "total"]
with open(report + ".part", "w") as file:
    print(f"{'region':<8}" + "".join(f"{month:>12}" for month in months), file=file)
    for region in regions:
        row = "".join(f"{totals[region, month]:>12}" for month in months)
        print(f"{region:<8}{row}", file=file)
os.replace(report + ".part", report)  # whole or not at all, however often the job runs
