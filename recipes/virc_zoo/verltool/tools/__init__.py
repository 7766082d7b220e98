"""The tools of VerlTool's visual part."""
