"""What manifests and a kubelet's configuration say about memory, as a scenario and a policy.

Formulas are facts of the kubelet's source (kubernetes/kubernetes, 1.22 to 1.37); each names
its file.
"""
