"""LoRA as PEFT has it: configs and adapters of a plan, and plans of adapters. Uses `rule`; imports the package peft by its full name."""
