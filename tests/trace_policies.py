"""Policies over sessions for tests: a file that begins with NO_TOOL may go on with others."""

NO_TOOL = """
format = 1
version = "1"
[policies.no_tool_after_injection]
says = "After an injection no tool is called until a person has released the session."
formula = "G (injection_detected & !blocked -> N (!tool_called W released))"
holds = ["injection_detected flagged; allowed"]
fails = ["injection_detected flagged; tool_called"]
"""
THREAT_RATE = """[policies.threat_rate]
says = "Two threats within a minute slow the session down."
formula = "G (threat_detected & O[1us,1min] threat_detected -> rate_limited)"
holds = ["threat_detected @0; threat_detected @2min"]
fails = ["threat_detected @0; threat_detected @30s"]
"""
