"""What we are measured against: the same order, written as most people would write it. No part of the product."""
