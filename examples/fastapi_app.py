"""A memory service for many clients at once: FastAPI over AsyncAgentMem.

    pip install fastapi uvicorn
    AGENTMEM_STORE=service-memory uvicorn examples.fastapi_app:app

Requests that add at the same time share commits. The service has no login of its own: put it behind what has one, and
take the user from there instead of from the path.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from agentmem_cli import AgentMemError, AsyncAgentMem, InvalidMemoryError, UsageError


class NewMemory(BaseModel):
    text: str
    metadata: dict[str, str | int | float | bool | None] = {}


class Found(BaseModel):
    id: str
    text: str
    score: float
    created_at: datetime


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncAgentMem(os.environ.get("AGENTMEM_STORE", "service-memory")) as mem:
        app.state.mem = mem
        yield


app = FastAPI(title="Memories", lifespan=lifespan)


def memories(request: Request) -> AsyncAgentMem:
    mem: AsyncAgentMem = request.app.state.mem
    return mem


@app.exception_handler(AgentMemError)
async def explain(_request: Request, error: Exception) -> JSONResponse:
    """The error's own line, as the client's mistake or as the service's."""
    code = 422 if isinstance(error, (InvalidMemoryError, UsageError)) else 503
    return JSONResponse({"detail": str(error)}, code)


@app.post("/users/{user_id}/memories", status_code=201)
async def add(user_id: str, new: NewMemory, request: Request) -> dict[str, str]:
    return {"id": await memories(request).add(new.text, user_id=user_id, metadata=new.metadata)}


@app.get("/users/{user_id}/memories")
async def search(
    user_id: str, q: str, request: Request, limit: Annotated[int, Query(ge=1, le=100)] = 10
) -> list[Found]:
    hits = await memories(request).search(q, limit, user_id=user_id)
    return [Found(id=hit.id, text=hit.text, score=hit.score, created_at=hit.created_at) for hit in hits]


@app.delete("/users/{user_id}/memories/{memory_id}", status_code=204)
async def delete(user_id: str, memory_id: str, request: Request) -> None:
    memory = await memories(request).get(memory_id)
    if memory is None or memory.scope.user_id != user_id:
        raise HTTPException(404, f"{user_id} has no memory {memory_id}")
    await memories(request).delete(memory_id)
