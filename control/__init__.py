"""The backend's side: the reference implementation of the wire contract, and what developers run locally.

The agent never imports it and the image never ships it. From agent/ it takes the contract's path rules
(agent.sync.paths) and three leaves: agent.log, agent.clock and agent.config.Secret.
"""
