"""Being one of several boxes: joining a site, who the others are and how they are, and leaving for a moment.

Replication itself is `appliance.replication`; this room decides who is let in, and tells people.
"""
