"""The HTTP yardstick: what a service that answers with its input costs in FastAPI, as its documentation writes one."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel


class Tensor(BaseModel):
    """An Open Inference Protocol tensor with its data as JSON."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class Request(BaseModel):
    """What comes in."""

    inputs: list[Tensor]


class Reply(BaseModel):
    """What goes out."""

    model_name: str
    outputs: list[Tensor]


app = FastAPI()


@app.post("/v2/models/{name}/infer")
async def infer(name: str, request: Request) -> Reply:
    """Echo."""
    return Reply(model_name=name, outputs=request.inputs)
